//! Whole commands and answers over a [`Connection`]: the server's side, and the client's.

use super::{Connection, ConnectionError};
use crate::protocol::response::{
    Column, OkPacket, QueryResponse, QueryResponseReader, ResultLimits, TextResult, encode_eof,
    encode_error, put_columns, put_rows, put_text_result,
};
use crate::protocol::{ServerError, command};

/// The server's side: reading commands, writing answers.
impl Connection {
    /// Reads the next command and restarts the packet numbers.
    ///
    /// # Errors
    /// As [`Connection::read_packet`].
    pub async fn read_command(&mut self, length_max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.begin_command();
        self.read_packet(length_max).await
    }

    /// Writes and flushes an OK packet.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_ok(&mut self, ok: &OkPacket) -> Result<(), ConnectionError> {
        self.write_packet(&ok.encode()).await?;
        self.flush().await
    }

    /// Writes and flushes an EOF packet.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_eof(&mut self, status: u16) -> Result<(), ConnectionError> {
        self.write_packet(&encode_eof(status)).await?;
        self.flush().await
    }

    /// Writes and flushes an ERR packet.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_error(&mut self, error: &ServerError) -> Result<(), ConnectionError> {
        self.write_packet(&encode_error(error)).await?;
        self.flush().await
    }

    /// Writes the packets before the first row of a text result; rows and an EOF or ERR packet must
    /// follow.
    pub fn begin_text_result(&mut self, columns: &[Column<'_>]) {
        put_columns(&mut self.output, &mut self.write_sequence, columns);
        self.frames.set_sequence(self.write_sequence);
    }

    /// Writes and flushes rows of a result that was begun with `columns` columns.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_rows(
        &mut self,
        columns: usize,
        rows: &[Vec<Option<Vec<u8>>>],
    ) -> Result<(), ConnectionError> {
        put_rows(&mut self.output, &mut self.write_sequence, columns, rows);
        self.frames.set_sequence(self.write_sequence);
        self.flush().await
    }

    /// Writes and flushes a text result.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_text_result(
        &mut self,
        columns: &[Column<'_>],
        rows: &[Vec<Option<Vec<u8>>>],
    ) -> Result<(), ConnectionError> {
        put_text_result(&mut self.output, &mut self.write_sequence, columns, rows);
        self.frames.set_sequence(self.write_sequence);
        self.flush().await
    }
}

/// The client's side: writing commands, reading answers.
impl Connection {
    /// Restarts the packet numbers and sends a command.
    ///
    /// # Errors
    /// I/O errors.
    pub async fn write_command(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        self.begin_command();
        self.write_packet(payload).await?;
        self.flush().await
    }

    /// Sends a statement and reads its result, which is empty for a statement without rows.
    ///
    /// # Errors
    /// [`super::ConnectionErrorCause::Server`] when the server refused it: then, and only then,
    /// the connection can still be used.
    pub async fn query(&mut self, sql: &str) -> Result<TextResult, ConnectionError> {
        match self.exchange(&command::query(sql)).await? {
            QueryResponse::Rows(result) => Ok(result),
            QueryResponse::Ok(_) => Ok(TextResult::default()),
        }
    }

    /// Sends a statement that is answered by OK; rows are read and discarded.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub async fn execute(&mut self, sql: &str) -> Result<(), ConnectionError> {
        self.exchange(&command::query(sql)).await.map(|_| ())
    }

    /// Sends a command and reads its answer.
    ///
    /// # Errors
    /// As [`Connection::query`].
    pub async fn exchange(&mut self, command: &[u8]) -> Result<QueryResponse, ConnectionError> {
        self.write_command(command).await?;
        let limits = ResultLimits::default();
        let mut reader = QueryResponseReader::new(limits);
        loop {
            let packet = self.read_packet(limits.bytes_max).await?;
            let complete = reader.push(&packet).map_err(|error| self.error(error))?;
            if let Some(response) = complete {
                return Ok(response);
            }
        }
    }
}
