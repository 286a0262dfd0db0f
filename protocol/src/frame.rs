//! Frames: `Content-Length` headers, an empty line, then the JSON text, as editors' language servers do.

use std::io::{self, Read, Write};

use cns_secret::{Secret, SecretError};
use zeroize::Zeroizing;

/// The largest body, in bytes. Larger frames are refused before any of the body is read.
pub const MAX_BODY: usize = 2 * 1024 * 1024;

/// The largest body that is held in locked memory, in bytes. A request that carries a secret must fit.
pub const MAX_LOCKED_BODY: usize = 16 * 1024;

/// The longest header, in bytes.
pub const MAX_HEADER: usize = 256;

/// What is wrong with a frame, or with the stream that it comes from.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream ended between two frames.
    #[error("the connection was closed")]
    Closed,
    /// The stream failed or ended inside a frame.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The header is not `Content-Length: N` (other header lines are allowed and ignored).
    #[error("the frame's header is not `Content-Length: N` followed by an empty line")]
    Header,
    /// The header is longer than [`MAX_HEADER`].
    #[error("the frame's header is longer than {MAX_HEADER} bytes")]
    HeaderTooLong,
    /// The body is longer than [`MAX_BODY`].
    #[error("the frame's body of {0} bytes is larger than {MAX_BODY} bytes")]
    BodyTooLong(usize),
    /// No locked memory for the body.
    #[error("no locked memory for the frame: {0}")]
    Memory(#[from] SecretError),
}

/// A frame's body. Small ones, which may carry a PIN, live in locked memory; large ones are wiped all the same.
pub enum Body {
    /// At most [`MAX_LOCKED_BODY`] bytes, in locked memory.
    Locked(Secret),
    /// A bulk body, for instance an import file; methods that carry a secret refuse it.
    Bulk(Zeroizing<Vec<u8>>),
}

impl Body {
    /// A zero-filled body of this length, to be read into.
    ///
    /// # Errors
    /// When `length` is over [`MAX_BODY`], or no locked memory is left.
    pub fn zeroed(length: usize) -> Result<Self, FrameError> {
        if length <= MAX_LOCKED_BODY {
            Ok(Body::Locked(Secret::zeroed(length)?))
        } else if length <= MAX_BODY {
            Ok(Body::Bulk(Zeroizing::new(vec![0; length])))
        } else {
            Err(FrameError::BodyTooLong(length))
        }
    }

    /// The body's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Body::Locked(secret) => secret.expose(),
            Body::Bulk(bytes) => bytes,
        }
    }

    /// The body's bytes, to be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Body::Locked(secret) => secret.expose_mut(),
            Body::Bulk(bytes) => bytes,
        }
    }
}

/// Collects a header byte by byte. Reading exactly up to the empty line keeps the body, which may hold a PIN, out of
/// any read-ahead buffer.
#[derive(Default)]
pub struct HeaderReader {
    bytes: Vec<u8>,
}

impl HeaderReader {
    /// Whether nothing was read yet: the end of the stream here is a clean end.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next byte; the body's length once the header is complete.
    ///
    /// # Errors
    /// When the header is too long or says no usable length.
    pub fn push(&mut self, byte: u8) -> Result<Option<usize>, FrameError> {
        if self.bytes.len() >= MAX_HEADER {
            return Err(FrameError::HeaderTooLong);
        }
        self.bytes.push(byte);
        if self.bytes.ends_with(b"\r\n\r\n") { content_length(&self.bytes).map(Some) } else { Ok(None) }
    }
}

fn content_length(header: &[u8]) -> Result<usize, FrameError> {
    let text = std::str::from_utf8(header).map_err(|_| FrameError::Header)?;
    let mut length = None;
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(FrameError::Header)?;
        if name.eq_ignore_ascii_case("Content-Length") {
            let value = value.trim();
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            if !digits || length.is_some() {
                return Err(FrameError::Header);
            }
            length = Some(value.parse::<usize>().map_err(|_| FrameError::BodyTooLong(usize::MAX))?);
        }
    }
    match length {
        Some(length) if length > MAX_BODY => Err(FrameError::BodyTooLong(length)),
        Some(length) => Ok(length),
        None => Err(FrameError::Header),
    }
}

/// The header of a body of this length.
#[must_use]
pub fn header(length: usize) -> String {
    format!("Content-Length: {length}\r\n\r\n")
}

/// Reads one frame from a blocking stream.
///
/// # Errors
/// [`FrameError::Closed`] when the stream ends before a frame begins, otherwise what is wrong with the frame.
pub fn read(stream: &mut impl Read) -> Result<Body, FrameError> {
    let mut reader = HeaderReader::default();
    let length = loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) if reader.is_empty() => return Err(FrameError::Closed),
            Ok(0) => return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(length) = reader.push(byte[0])? {
            break length;
        }
    };
    let mut body = Body::zeroed(length)?;
    stream.read_exact(body.bytes_mut())?;
    Ok(body)
}

/// Writes one frame to a blocking stream.
///
/// # Errors
/// When the stream fails.
pub fn write(stream: &mut impl Write, body: &[u8]) -> Result<(), FrameError> {
    stream.write_all(header(body.len()).as_bytes())?;
    stream.write_all(body)?;
    stream.flush()?;
    Ok(())
}

/// A locked buffer of fixed capacity that a JSON writer can fill: growing would leave copies of what it holds.
pub struct LockedWriter {
    buffer: Secret,
    length: usize,
}

impl LockedWriter {
    /// A writer of [`MAX_LOCKED_BODY`] bytes.
    ///
    /// # Errors
    /// When no locked memory is left.
    pub fn new() -> Result<Self, SecretError> {
        Ok(Self { buffer: Secret::zeroed(MAX_LOCKED_BODY)?, length: 0 })
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.buffer.expose().get(..self.length).unwrap_or_default()
    }
}

impl Write for LockedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.length.saturating_add(bytes.len());
        let room = self.buffer.expose_mut().get_mut(self.length..end).ok_or(io::ErrorKind::FileTooLarge)?;
        room.copy_from_slice(bytes);
        self.length = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
