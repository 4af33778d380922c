//! Whether masters generate the same AUTO_INCREMENT values.

/// A master's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoIncrement {
    /// `auto_increment_increment`.
    pub increment: u64,
    /// `auto_increment_offset`.
    pub offset: u64,
}

impl AutoIncrement {
    /// Whether two masters can generate the same value: `offset + n × increment` for any n.
    fn meets(self, other: Self) -> bool {
        let divisor = greatest_common_divisor(self.increment, other.increment);
        let distance = self.start().abs_diff(other.start());
        distance.is_multiple_of(divisor.max(1))
    }

    /// A server ignores an offset that is greater than the increment.
    fn start(self) -> u64 {
        match self.offset <= self.increment {
            true => self.offset,
            false => 1,
        }
    }
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    match other {
        0 => one,
        other => greatest_common_divisor(other, one % other),
    }
}

/// A warning that names the masters that generate the same values; `masters` are those that clients may write to.
pub fn auto_increment_collision(masters: &[(String, AutoIncrement)]) -> Option<String> {
    let meets = |name: &str, settings: AutoIncrement| {
        let mut others = masters.iter().filter(|(other, _)| other != name);
        others.any(|(_, other)| settings.meets(*other))
    };
    let colliding = masters
        .iter()
        .filter(|(name, settings)| meets(name, *settings));
    let named: Vec<String> = colliding
        .map(|(name, settings)| {
            let AutoIncrement { increment, offset } = settings;
            format!("{name} ({increment}, {offset})")
        })
        .collect();
    (!named.is_empty()).then(|| {
        format!(
            "the sources {} generate the same AUTO_INCREMENT values (auto_increment_increment, \
             auto_increment_offset); if clients write to more than one of them, set \
             auto_increment_increment={} and a different auto_increment_offset on each",
            named.join(", "),
            masters.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collision(masters: &[(u64, u64)]) -> Option<String> {
        let masters = masters.iter().enumerate().map(|(number, settings)| {
            let (increment, offset) = *settings;
            (format!("m{number}"), AutoIncrement { increment, offset })
        });
        auto_increment_collision(&masters.collect::<Vec<_>>())
    }

    /// As the values themselves show.
    fn meet(one: (u64, u64), other: (u64, u64)) -> bool {
        let values = |(increment, offset): (u64, u64)| {
            let start = if offset <= increment { offset } else { 1 };
            (0..200)
                .map(|n| start + n * increment)
                .collect::<std::collections::HashSet<_>>()
        };
        !values(one).is_disjoint(&values(other))
    }

    #[test]
    fn two_masters_collide_where_their_values_do() {
        for increment in 1..6 {
            for offset in 1..6 {
                for other in (1..6).flat_map(|i| (1..6).map(move |o| (i, o))) {
                    let found = collision(&[(increment, offset), other]).is_some();
                    assert_eq!(
                        found,
                        meet((increment, offset), other),
                        "{increment} {offset} {other:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_masters_that_collide_are_named() {
        assert_eq!(collision(&[(1, 1)]), None);
        assert_eq!(collision(&[(3, 1), (3, 2), (3, 3)]), None);
        let text = collision(&[(4, 1), (4, 2), (4, 1)]).unwrap();
        assert!(text.contains("m0 (4, 1), m2 (4, 1) generate"), "{text}");
        assert!(text.contains("auto_increment_increment=3"), "{text}");
    }
}
