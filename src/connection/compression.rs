//! The algorithms of the compressed protocol.

use std::fmt;
use std::io;

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, Operation};

/// zlib's own default, which servers use.
const ZLIB_LEVEL: u32 = 6;
/// The log of the largest zstd window that is accepted: 16 MiB, the most that one compressed packet can
/// hold.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// An algorithm that both sides of a connection have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `CLIENT_COMPRESS`.
    Zlib,
    /// `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
    Zstd {
        /// 1 to 22, as the client requests for both directions.
        level: u8,
    },
}

impl Compression {
    /// Its name in `SOURCE_COMPRESSION_ALGORITHMS`.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Zlib => "zlib",
            Compression::Zstd { .. } => "zstd",
        }
    }
}

/// Compresses one packet after another.
pub(super) enum Packer {
    Zlib(Compress),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Packer::Zlib(_) => "zlib",
            Packer::Zstd(_) => "zstd",
        })
    }
}

impl Packer {
    pub(super) fn new(algorithm: Compression) -> io::Result<Packer> {
        Ok(match algorithm {
            Compression::Zlib => {
                Packer::Zlib(Compress::new(flate2::Compression::new(ZLIB_LEVEL), true))
            }
            Compression::Zstd { level } => {
                Packer::Zstd(zstd::bulk::Compressor::new(i32::from(level.clamp(1, 22)))?)
            }
        })
    }

    /// Compresses `bytes` to the front of `to` and returns the length; `None` if it does not fit.
    pub(super) fn pack(&mut self, bytes: &[u8], to: &mut [u8]) -> Option<usize> {
        match self {
            Packer::Zlib(compress) => {
                compress.reset();
                let status = compress.compress(bytes, to, FlushCompress::Finish);
                let is_whole = matches!(status, Ok(Status::StreamEnd));
                usize::try_from(compress.total_out())
                    .ok()
                    .filter(|_| is_whole)
            }
            Packer::Zstd(compressor) => compressor.compress_to_buffer(bytes, to).ok(),
        }
    }
}

/// One step of decompressing a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Bytes read from the input.
    pub(super) consumed: usize,
    /// Bytes written to the output.
    pub(super) produced: usize,
    /// Whether the compressed stream has ended.
    pub(super) is_end: bool,
}

/// Decompresses one packet after another, piece by piece.
pub(super) enum Unpacker {
    Zlib(Decompress),
    Zstd(Decoder<'static>),
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unpacker::Zlib(_) => "zlib",
            Unpacker::Zstd(_) => "zstd",
        })
    }
}

impl Unpacker {
    pub(super) fn new(algorithm: Compression) -> io::Result<Unpacker> {
        Ok(match algorithm {
            Compression::Zlib => Unpacker::Zlib(Decompress::new(true)),
            Compression::Zstd { .. } => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                Unpacker::Zstd(decoder)
            }
        })
    }

    /// Begins with another packet.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        match self {
            Unpacker::Zlib(decompress) => {
                decompress.reset(true);
                Ok(())
            }
            Unpacker::Zstd(decoder) => decoder.reinit(),
        }
    }

    /// Decompresses as much of `input` as fits into `output`.
    pub(super) fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Unpacked> {
        match self {
            Unpacker::Zlib(decompress) => {
                let (before_in, before_out) = (decompress.total_in(), decompress.total_out());
                let status = decompress
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                Ok(Unpacked {
                    consumed: (decompress.total_in() - before_in) as usize,
                    produced: (decompress.total_out() - before_out) as usize,
                    is_end: status == Status::StreamEnd,
                })
            }
            Unpacker::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, output)?;
                Ok(Unpacked {
                    consumed: status.bytes_read,
                    produced: status.bytes_written,
                    is_end: status.remaining == 0,
                })
            }
        }
    }
}
