//! Reading, converting and writing, each on a thread of its own or all on one.

use super::convert::{Converted, Converter, Origin};
use crate::error::Result;
use crate::read::{Chunk, Format, ReadChunks, ReadOptions, SourceFile};
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// What the sources yield, in their order.
pub(crate) enum Event {
    /// Rows of the current file.
    Rows(Converted),
    /// A file ended, after so many rows.
    EndOfFile {
        /// Its rows, bad ones included.
        rows: u64,
    },
}

/// What is read, before it is converted.
enum Piece {
    Chunk(Chunk, Origin),
    EndOfFile(u64),
}

/// The files of an import and how to read them.
pub(crate) struct Sources<'a> {
    pub(crate) files: &'a [SourceFile],
    pub(crate) format: Option<&'a Format>,
    pub(crate) options: &'a ReadOptions,
    pub(crate) converter: &'a Converter,
    pub(crate) threads: usize,
}

/// Chunks that may wait between two stages: enough to even out, few enough to stay small.
const WAITING: usize = 3;

impl Sources<'_> {
    /// Gives everything in the files to `consume`, in order, on the calling thread. With more than one thread,
    /// reading and converting run beside it.
    pub(crate) fn run(&self, mut consume: impl FnMut(Event) -> Result<()>) -> Result<()> {
        if self.threads <= 1 {
            return self.read(|piece| consume(self.convert(piece)?).map(|()| true));
        }
        std::thread::scope(|scope| {
            let (read_sender, read) = sync_channel(WAITING);
            let (converted_sender, converted) = sync_channel(WAITING);
            scope.spawn(move || {
                // A receiver that has gone away has an error of its own to tell.
                if let Err(error) = self.read(|piece| Ok(read_sender.send(Ok(piece)).is_ok())) {
                    let _ = read_sender.send(Err(error));
                }
            });
            scope.spawn(move || {
                for piece in read {
                    let event = piece.and_then(|piece| self.convert(piece));
                    let failed = event.is_err();
                    if converted_sender.send(event).is_err() || failed {
                        return;
                    }
                }
            });
            converted.into_iter().try_for_each(|event| consume(event?))
        })
    }

    /// Gives away all pieces of all files until `give` says that it wants no more.
    fn read(&self, mut give: impl FnMut(Piece) -> Result<bool>) -> Result<()> {
        let mut rows_before = 0;
        for (ordinal, file) in self.files.iter().enumerate() {
            let origin = Origin { name: file.name.as_str().into(), ordinal: ordinal as u64, rows_before };
            let mut rows = 0;
            if file.bytes > 0 {
                let mut reader = self.open(&file.path)?;
                while let Some(chunk) = reader.next_chunk()? {
                    rows += (chunk.ordinals.len() + chunk.refused.len()) as u64;
                    if !give(Piece::Chunk(chunk, origin.clone()))? {
                        return Ok(());
                    }
                }
            }
            rows_before += rows;
            if !give(Piece::EndOfFile(rows))? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn open(&self, file: &Path) -> Result<Box<dyn ReadChunks>> {
        let guessed = Format::guess(file);
        let format = self.format.or(guessed.as_ref()).ok_or_else(|| {
            crate::error::Error::Usage(format!("{}: its name does not tell its format; say --format", file.display()))
        })?;
        format.open(file, self.converter.wanted(), self.options)
    }

    fn convert(&self, piece: Piece) -> Result<Event> {
        Ok(match piece {
            Piece::Chunk(chunk, origin) => Event::Rows(self.converter.convert(&chunk, &origin)?),
            Piece::EndOfFile(rows) => Event::EndOfFile { rows },
        })
    }
}
