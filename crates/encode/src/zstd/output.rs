//! The output of a frame while it grows: blocks one behind the other, the frame's header in front of them
//! when all are there.
#![expect(clippy::cast_possible_truncation, reason = "sizes are at most 8 MiB")]

use super::bits::put;
use super::block::{Entropy, Plan};
use super::cut::{Cut, Room};
use super::pending::Block;
use crate::codec::Prefix;

/// The magic number of a frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Length of a block's header.
pub(super) const BLOCK_HEADER: usize = 3;
/// The kind of a block that is stored.
pub(super) const STORED: u32 = 0;
/// The kind of a block that is a run of one byte.
pub(super) const RUN: u32 = 1;
/// The kind of a compressed block.
pub(super) const COMPRESSED: u32 = 2;
/// An output shorter than this is not worth a frame.
pub(super) const SMALLEST: usize = 32;
/// The least room that is worth another block.
const LEAST_ROOM: usize = 16;

/// The output while the frame grows.
pub(super) struct Output<'a> {
    bytes: &'a mut [u8],
    at: usize,
    last_header: Option<usize>,
    /// What is kept free for the frame's header.
    reserved: usize,
}

impl<'a> Output<'a> {
    /// An output for a frame of at most `content` bytes in a window of `window` bytes.
    pub(super) fn new(bytes: &'a mut [u8], content: usize, window: usize) -> Self {
        let reserved = frame_header(content, window).1;
        Self { bytes, at: reserved, last_header: None, reserved }
    }

    /// The most bytes that the body of one more block may have.
    pub(super) fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.at + BLOCK_HEADER)
    }

    /// Whether one more block is worth its header.
    pub(super) fn has_room(&self) -> bool {
        self.room() >= LEAST_ROOM
    }

    /// Adds a block of this kind, [`STORED`] or [`COMPRESSED`].
    pub(super) fn push(&mut self, kind: u32, body: &[u8]) {
        let header = kind << 1 | (body.len() as u32) << 3;
        self.last_header = Some(self.at);
        self.at = put(self.bytes, self.at, &header.to_le_bytes()[..BLOCK_HEADER]);
        self.at = put(self.bytes, self.at, body);
    }

    /// Whether a block that has its header fits.
    pub(super) fn fits(&self, block: &[u8]) -> bool {
        block.len() <= self.bytes.len().saturating_sub(self.at)
    }

    /// Adds a block that has its header, which is not that of a last one.
    pub(super) fn push_written(&mut self, block: &[u8]) {
        self.last_header = Some(self.at);
        self.at = put(self.bytes, self.at, block);
    }

    /// Adds as much of a block as fits, and gives how much of `input` that is: coded as `block` says and
    /// `plan` describes, or stored where that takes more.
    pub(super) fn push_cut(
        &mut self,
        block: &mut Block,
        entropy: &mut Entropy,
        cut: &mut Cut,
        plan: &Plan,
        input: &[u8],
    ) -> usize {
        let span = cut.fit(block, entropy, *plan, Room { bytes: self.room() });
        let stored = self.room().min(input.len());
        if span > stored {
            self.push(COMPRESSED, cut.body());
            return span;
        }
        if stored > 0 {
            self.push(STORED, &input[..stored]);
        }
        stored
    }

    /// Marks the last block and puts the header of a frame of `done` bytes before the first one.
    pub(super) fn finish(self, done: usize, window: usize) -> Prefix {
        let Some(last_header) = self.last_header else {
            return Prefix::default();
        };
        let (header, length) = frame_header(done, window);
        let written = self.at - self.reserved + length;
        if done == 0 || written >= done {
            return Prefix::default();
        }
        self.bytes[last_header] |= 1;
        self.bytes.copy_within(self.reserved..self.at, length);
        put(self.bytes, 0, &header[..length]);
        Prefix { consumed: done, written }
    }
}

/// The frame's header for `content` bytes and its length: with the content's size, and with the window's size
/// only where that is smaller (RFC 8878, 3.1.1.1). mkfs and fsck of erofs-utils want the content's size;
/// Linux wants a window that is no larger than the image declares, which a content that is no larger than the
/// window fulfils as well.
fn frame_header(content: usize, window: usize) -> ([u8; 10], usize) {
    let (flag, value, length) = match content {
        0..256 => (0, content, 1),
        256..65792 => (1, content - 256, 2),
        _ => (2, content, 4),
    };
    let mut header = [0; 10];
    let mut at = put(&mut header, 0, &MAGIC);
    at = if content <= window {
        put(&mut header, at, &[flag << 6 | 1 << 5])
    } else {
        put(&mut header, at, &[flag << 6, ((window.ilog2() - 10) << 3) as u8])
    };
    at = put(&mut header, at, &(value as u32).to_le_bytes()[..length]);
    (header, at)
}
