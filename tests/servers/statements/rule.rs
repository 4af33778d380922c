//! How the relay's answer is compared with the server's.

use super::answered::Answered;

/// How two answers are compared. The reasons say why they may differ.
pub enum Rule {
    /// The same columns and types, with rows or without them as there, or the same error.
    Alike,
    /// The same rows as well.
    Equal,
    /// The same columns, and the same values in the first one.
    SameNames,
    /// As `Alike`, where the server's version knows the statement at all; the relay may know more.
    AlikeWhereKnown,
    /// As `Alike`, but without rows here.
    NoRowsHere(&'static str),
    /// As `NoRowsHere`, where the server's version knows the statement at all.
    NoRowsHereWhereKnown(&'static str),
    /// As `Alike`, but the relay may have rows where the server has none.
    RowsHere(&'static str),
    /// The same columns and types, or the first ones of the server's.
    FirstColumns(&'static str),
    /// As `Alike`, or the first error here where the server answers with the second one.
    Instead(u16, u16, &'static str),
    /// Not compared: this error, or 0 for rows.
    Here(u16, &'static str),
}

impl Rule {
    /// Whether the relay's answer is right.
    pub fn accepts(&self, ours: &Answered, theirs: &Answered) -> bool {
        match self {
            Rule::Alike => Self::is_alike(ours, theirs),
            Rule::Equal => ours.is_alike(theirs) && ours.rows() == theirs.rows(),
            Rule::SameNames => {
                ours.is_alike(theirs) && ours.first_column() == theirs.first_column()
            }
            Rule::AlikeWhereKnown => {
                *theirs == Answered::Error(1064) || Self::is_alike(ours, theirs)
            }
            Rule::NoRowsHere(_) => ours.is_alike(theirs) && ours.rows().is_empty(),
            Rule::NoRowsHereWhereKnown(_) => {
                *theirs == Answered::Error(1064) || ours.is_alike(theirs) && ours.rows().is_empty()
            }
            Rule::RowsHere(_) => {
                ours.is_alike(theirs) && (!ours.rows().is_empty() || theirs.rows().is_empty())
            }
            Rule::FirstColumns(_) => ours.begins(theirs),
            Rule::Instead(here, there, _) => match theirs {
                Answered::Error(code) if code == there => *ours == Answered::Error(*here),
                _ => Self::is_alike(ours, theirs),
            },
            Rule::Here(code, _) => match ours {
                Answered::Error(found) => found == code,
                Answered::Rows(..) => *code == 0,
            },
        }
    }

    fn is_alike(ours: &Answered, theirs: &Answered) -> bool {
        ours.is_alike(theirs) && ours.rows().is_empty() == theirs.rows().is_empty()
    }

    /// Why the answers may differ, for a failed test.
    pub fn reason(&self) -> String {
        match self {
            Rule::NoRowsHere(why)
            | Rule::NoRowsHereWhereKnown(why)
            | Rule::RowsHere(why)
            | Rule::FirstColumns(why) => {
                format!(" ({why})")
            }
            Rule::Instead(code, _, why) | Rule::Here(code, why) => format!(" ({code}: {why})"),
            _ => String::new(),
        }
    }
}
