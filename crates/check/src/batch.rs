//! Contents of small files that wait until they are fingerprinted together, which is faster than one by one.

use std::ops::Range;

use erofs_algo::fingerprint::{self as algo, FingerprintKind};
use uuid::Uuid;

use crate::fingerprint::{Content, Verdict};

/// The longest content that waits, in bytes.
const LONGEST: u64 = 256 << 10;
/// As many bytes are enough: they stay in a processor's cache until they are hashed.
const ENOUGH: usize = 1 << 20;
/// As many files are enough, however short they are: each has a name.
const ENOUGH_FILES: usize = 4096;

/// A file that waits.
struct File {
    /// What the report will say of it, without a digest yet.
    content: Content,
    /// The kind of its fingerprint.
    kind: FingerprintKind,
    /// Where its bytes are.
    range: Range<usize>,
}

/// The files that wait.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    files: Vec<File>,
}

impl Batch {
    /// Whether a file of this size may wait.
    pub(crate) fn takes(size: u64) -> bool {
        size <= LONGEST
    }

    /// Whether those that wait should be judged.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= ENOUGH || self.files.len() >= ENOUGH_FILES
    }

    /// Adds a file, whose bytes `read` hands over piece by piece. Nothing is added if that fails.
    pub(crate) fn add<E>(
        &mut self,
        content: Content,
        kind: FingerprintKind,
        read: impl FnOnce(&mut dyn FnMut(&[u8])) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.bytes.len();
        if let Err(error) = read(&mut |piece| self.bytes.extend_from_slice(piece)) {
            self.bytes.truncate(start);
            return Err(error);
        }
        let range = start..self.bytes.len();
        self.files.push(File { content, kind, range });
        Ok(())
    }

    /// Judges all that wait, kind by kind; none waits then.
    pub(crate) fn judge(&mut self, namespace: Uuid, mut tell: impl FnMut(Content, Verdict)) {
        let mut waiting = std::mem::take(&mut self.files);
        for kind in algo::TABLE {
            let (these, others): (Vec<File>, _) =
                waiting.into_iter().partition(|file| file.kind.name == kind.name);
            waiting = others;
            let bytes = |file: &File| self.bytes.get(file.range.clone()).unwrap_or_default();
            let contents: Vec<&[u8]> = these.iter().map(bytes).collect();
            let made = (kind.each)(namespace, &contents);
            for (File { content, .. }, made) in these.into_iter().zip(made) {
                let verdict = Verdict::of(&content.value, kind, made);
                tell(content, verdict);
            }
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_is_held_against_its_own_value() {
        let waiting =
            |order, value| Content { value, digest: Vec::new(), size: 1, path: vec![b'a'], nid: 7, order };
        let mut batch = Batch::default();
        let contents: Vec<Vec<u8>> = (0..40).map(|n| vec![n; 1000 * usize::from(n) + 1]).collect();
        for round in 0..2 {
            for (order, content) in (0..).zip(&contents) {
                let kind = algo::TABLE[content.len() % algo::TABLE.len()];
                let right = algo::of(kind, Uuid::NAMESPACE_OID, content).value;
                let value = if order == 20 { [kind.tag, &vec![1; kind.digest_len]].concat() } else { right };
                let read = |sink: &mut dyn FnMut(&[u8])| {
                    content.chunks(300).for_each(sink);
                    Ok::<(), u8>(())
                };
                batch.add(waiting(order, value), kind, read).unwrap();
                // What cannot be read leaves nothing behind.
                let broken = |sink: &mut dyn FnMut(&[u8])| {
                    sink(b"some");
                    Err(9)
                };
                assert_eq!(batch.add(waiting(99, Vec::new()), kind, broken), Err(9));
            }
            assert!(!batch.is_full());
            let mut seen = Vec::new();
            batch.judge(Uuid::NAMESPACE_OID, |content, verdict| {
                assert!(verdict.judged);
                assert_eq!(verdict.finding.is_some(), content.order == 20, "content {}", content.order);
                seen.push(content.order);
            });
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..40), "round {round}");
        }
        let large = |sink: &mut dyn FnMut(&[u8])| {
            sink(&vec![0; ENOUGH]);
            Ok::<(), u8>(())
        };
        batch.add(waiting(0, Vec::new()), algo::TABLE[0], large).unwrap();
        assert!(batch.is_full() && Batch::takes(LONGEST) && !Batch::takes(LONGEST + 1));
        batch.judge(Uuid::NAMESPACE_OID, |_, _| {});
        for _ in 0..ENOUGH_FILES {
            assert!(!batch.is_full());
            batch.add(waiting(0, Vec::new()), algo::TABLE[0], |_| Ok::<(), u8>(())).unwrap();
        }
        assert!(batch.is_full());
    }
}
