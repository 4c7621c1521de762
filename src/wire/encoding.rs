//! Decodes a content coding (gzip, deflate, br, zstd) as the bytes arrive.
//!
//! All output that the input so far determines is emitted at once, in slices of bounded size. No compressed
//! event is held back, and a decompression bomb does not grow memory.

use std::{fmt, io};

use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use http::{HeaderMap, header};
use thiserror::Error;

use super::Flow;

/// The expansion ratio is checked only beyond this much output. Legitimate text compresses far less than a
/// decompression bomb.
const FREE_BYTES: u64 = 1024 * 1024;
/// Maximum number of output bytes per input byte, once there is more output than [`FREE_BYTES`]. Verbose JSON reaches
/// 20 to 50.
const MAX_RATIO: u64 = 200;
/// The largest window of a zstd frame, as a power of two: 8 MiB, which RFC 8878, 3.1.1.1.2, recommends to support. The
/// window is memory that each stream takes.
const MAX_ZSTD_WINDOW: u32 = 23;
/// The first seven bits of a brotli stream with a large window, up to 1 GiB. RFC 7932, 9.1, leaves them invalid.
const LARGE_BROTLI_WINDOW: u8 = 0b001_0001;
/// Output is emitted in slices of at most this size.
const SLICE_BYTES: usize = 16 * 1024;

/// A content coding, as named in `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br`
    Brotli,
    /// `deflate`: the zlib format according to the standard, raw deflate from some servers.
    Deflate,
    /// `gzip`, `x-gzip`
    Gzip,
    /// No coding.
    Identity,
    /// `zstd`
    Zstd,
}

impl Coding {
    /// Returns the content coding of a response; `None` if Weir cannot decode it, or if there are several. `identity`,
    /// `none` and empty values, which some servers send, are no coding, alone or in a list.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut found = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            for name in value.to_str().ok()?.split(',') {
                match (Self::from_name(name)?, found) {
                    (Self::Identity, _) => {}
                    (coding, Self::Identity) => found = coding,
                    _ => return None,
                }
            }
        }
        Some(found)
    }

    /// Parses the name of a coding. Returns `None` for one that Weir cannot decode.
    pub fn from_name(name: &str) -> Option<Self> {
        let name = name.trim();
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match () {
            () if name.is_empty() || is("identity") || is("none") => Some(Self::Identity),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("deflate") => Some(Self::Deflate),
            () if is("br") => Some(Self::Brotli),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }
}

/// Why compressed bytes cannot be decoded.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The bytes are not valid in the coding that the header names.
    #[error("the compressed body is corrupt")]
    Corrupt,
    /// The output is too large for the input (decompression bomb).
    #[error("the compressed body expands more than {MAX_RATIO} times")]
    Expansion,
    /// The decoder would have to remember more output than it may.
    #[error("the compressed body needs a window of more than 8 MiB (zstd) or 16 MiB (brotli)")]
    Window,
}

/// A streaming decoder for one coding.
pub struct Decoder {
    codec: Codec,
    input: u64,
    output: u64,
    /// The end of a compressed member was reached; another member may follow.
    ended: bool,
    /// The sink has paused. What is left of the input is in `held`, and the codec may have more output of what it took.
    paused: bool,
    held: Vec<u8>,
}

enum Codec {
    Brotli(Box<BrotliDecoder>),
    /// `deflate` before its first byte, which tells the zlib format from raw deflate.
    DeflateUnknown,
    Gzip(Box<GzipDecoder>),
    Raw(Box<DeflateDecoder>),
    Zlib(Box<ZlibDecoder>),
    Zstd(Box<ZstdDecoder>),
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("input", &self.input)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

impl Decoder {
    /// Creates a decoder for `coding`. Returns `None` for the identity coding, which needs none.
    pub fn new(coding: Coding) -> Option<Self> {
        let codec = match coding {
            Coding::Brotli => Codec::Brotli(Box::default()),
            Coding::Deflate => Codec::DeflateUnknown,
            Coding::Gzip => Codec::Gzip(Box::default()),
            Coding::Identity => return None,
            Coding::Zstd => {
                let most = DParameter::window_log_max(MAX_ZSTD_WINDOW);
                Codec::Zstd(Box::new(ZstdDecoder::new_with_params(&[most])))
            }
        };
        Some(Self {
            codec,
            input: 0,
            output: 0,
            ended: false,
            paused: false,
            held: Vec::new(),
        })
    }

    /// Passes all output that `input` determines to `sink`, until `sink` pauses. The next call goes on from there, with
    /// an empty `input` if nothing new has come.
    pub fn feed<E: From<Error>, F: Into<Flow>>(
        &mut self,
        input: &[u8],
        sink: impl FnMut(&[u8]) -> Result<F, E>,
    ) -> Result<(), E> {
        self.input += input.len() as u64;
        if self.held.is_empty() {
            let used = self.decode(input, sink)?;
            self.held
                .extend_from_slice(input.get(used..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(input);
            let used = self.decode(&held, sink)?;
            held.drain(..used.min(held.len()));
            self.held = held;
        }
        Ok(())
    }

    /// Keeps `input` for the next call of [`Decoder::feed`], because there is no room for its output now.
    pub fn hold(&mut self, input: &[u8]) {
        self.input += input.len() as u64;
        self.held.extend_from_slice(input);
        self.paused |= !input.is_empty();
    }

    /// Reports whether there is output to go on with.
    pub const fn is_paused(&self) -> bool {
        self.paused
    }

    /// Decodes `input` as far as `sink` lets it. Returns how much of it is used.
    #[inline(never)]
    fn decode<E: From<Error>, F: Into<Flow>>(
        &mut self,
        input: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<F, E>,
    ) -> Result<usize, E> {
        let resumed = std::mem::take(&mut self.paused);
        let Some(first) = input.first().or_else(|| resumed.then_some(&0)) else {
            return Ok(0);
        };
        if matches!(self.codec, Codec::DeflateUnknown) {
            // RFC 1950: the low four bits of the first byte are the method, 8.
            self.codec = if first & 0x0F == 8 {
                Codec::Zlib(Box::default())
            } else {
                Codec::Raw(Box::default())
            };
        }
        let is_start = !input.is_empty() && (self.ended || self.input == input.len() as u64);
        if is_start && matches!(self.codec, Codec::Brotli(_)) && first & 0x7F == LARGE_BROTLI_WINDOW
        {
            return Err(Error::Window.into());
        }
        let mut slice = vec![0; SLICE_BYTES];
        let mut input = PartialBuffer::new(input);
        loop {
            if self.ended {
                if input.unwritten().is_empty() {
                    return Ok(input.written_len());
                }
                self.codec.restart()?;
                self.ended = false;
            }
            let before = input.written_len();
            let mut output = WriteBuffer::new_initialized(&mut slice);
            self.ended = self.codec.decode(&mut input, &mut output)?;
            let produced = output.written();
            self.output += produced.len() as u64;
            if self.output > FREE_BYTES && self.output / MAX_RATIO > self.input {
                return Err(Error::Expansion.into());
            }
            let flow = sink(produced)?.into();
            let full = produced.len() == SLICE_BYTES;
            let stuck = produced.is_empty() && input.written_len() == before;
            if !self.ended && !full && (input.unwritten().is_empty() || stuck) {
                return Ok(input.written_len());
            }
            if flow == Flow::Pause {
                self.paused = true;
                return Ok(input.written_len());
            }
        }
    }

    /// Reports whether the input so far is complete: it is empty, or ends where the coding ends.
    pub const fn is_complete(&self) -> bool {
        (self.ended || self.input == 0) && !self.paused
    }
}

impl Codec {
    fn decode(
        &mut self,
        input: &mut PartialBuffer<&[u8]>,
        output: &mut WriteBuffer<'_>,
    ) -> Result<bool, Error> {
        let result = match self {
            Self::Brotli(codec) => codec.decode(input, output),
            Self::DeflateUnknown => return Err(Error::Corrupt),
            Self::Gzip(codec) => codec.decode(input, output),
            Self::Raw(codec) => codec.decode(input, output),
            Self::Zlib(codec) => codec.decode(input, output),
            Self::Zstd(codec) => codec.decode(input, output),
        };
        // The library has no other sign of it (ZSTD_error_frameParameter_windowTooLarge).
        let is_window = |error: &io::Error| error.to_string().contains("too much memory");
        result.map_err(|error| {
            if is_window(&error) {
                Error::Window
            } else {
                Error::Corrupt
            }
        })
    }

    fn restart(&mut self) -> Result<(), Error> {
        let result = match self {
            Self::Brotli(codec) => codec.reinit(),
            Self::DeflateUnknown => Ok(()),
            Self::Gzip(codec) => codec.reinit(),
            Self::Raw(codec) => codec.reinit(),
            Self::Zlib(codec) => codec.reinit(),
            Self::Zstd(codec) => codec.reinit(),
        };
        result.map_err(|_| Error::Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use compression_codecs::{EncodeV2, GzipEncoder, ZstdEncoder};

    fn encode(encoder: &mut impl EncodeV2, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let mut space = vec![0; part.len() + 1024];
            let mut output = WriteBuffer::new_initialized(&mut space);
            encoder
                .encode(&mut PartialBuffer::new(part), &mut output)
                .unwrap();
            while !encoder.flush(&mut output).unwrap() {}
            if number + 1 == parts.len() {
                while !encoder.finish(&mut output).unwrap() {}
            }
            chunks.push(output.written().to_vec());
        }
        chunks
    }

    fn decode(coding: Coding, chunks: &[&[u8]]) -> Result<(Vec<Vec<u8>>, bool), Error> {
        let mut decoder = Decoder::new(coding).unwrap();
        let mut out = Vec::new();
        for chunk in chunks {
            let mut piece = Vec::new();
            decoder.feed(chunk, |bytes| {
                piece.extend_from_slice(bytes);
                Ok::<_, Error>(())
            })?;
            out.push(piece);
        }
        Ok((out, decoder.is_complete()))
    }

    #[test]
    fn a_flushed_event_comes_out_with_its_chunk() {
        let parts: [&[u8]; 3] = [b"data: one\n\n", b"data: two\n\n", b"data: three\n\n"];
        let gzip = (
            Coding::Gzip,
            encode(
                &mut GzipEncoder::new(compression_codecs::core::Level::Default.into()),
                &parts,
            ),
        );
        let zstd = (Coding::Zstd, encode(&mut ZstdEncoder::new(3), &parts));
        for (coding, chunks) in [gzip, zstd] {
            let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let (out, complete) = decode(coding, &chunks).unwrap();
            assert_eq!(out, parts, "{coding:?}");
            assert!(complete, "{coding:?}");
            let whole = chunks.concat();
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(decode(coding, &bytes).unwrap().0.concat(), parts.concat());
            assert!(!decode(coding, &[&whole[..whole.len() / 2]]).unwrap().1);
        }
    }

    #[test]
    fn windows_are_bounded() {
        // Magic number, a frame header without a content size, and the window: exponent and mantissa.
        let zstd = |log: u8| {
            [
                &[0x28, 0xB5, 0x2F, 0xFD, 0x00, (log - 10) << 3][..],
                &[1, 0, 0],
            ]
            .concat()
        };
        assert!(decode(Coding::Zstd, &[&zstd(23)]).is_ok());
        for log in [24, 27, 31] {
            let head = zstd(log);
            assert_eq!(decode(Coding::Zstd, &[&head]), Err(Error::Window), "{log}");
            let bytes: Vec<&[u8]> = head.chunks(1).collect();
            assert_eq!(decode(Coding::Zstd, &bytes), Err(Error::Window), "{log}");
        }
        assert_eq!(
            decode(Coding::Brotli, &[&[0x11, 0x1E, 0x03]]),
            Err(Error::Window)
        );
        // 16 MiB, the largest of RFC 7932, and an empty last block.
        assert_eq!(
            decode(Coding::Brotli, &[&[0x3F]]).map(|(out, _)| out.concat()),
            Ok(Vec::new())
        );
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        let bomb = encode(
            &mut GzipEncoder::new(compression_codecs::core::Level::Default.into()),
            &[&vec![b'x'; 64 << 20]],
        )
        .concat();
        assert_eq!(decode(Coding::Gzip, &[&bomb]), Err(Error::Expansion));
        assert_eq!(
            decode(Coding::Gzip, &[b"no gzip at all, really not"]),
            Err(Error::Corrupt)
        );
    }
}
