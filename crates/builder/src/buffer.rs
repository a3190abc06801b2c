//! Large buffers: where the system has no memory for one, that is an error and not the end of the program.

use crate::error::BuildError;

fn failed(bytes: usize) -> BuildError {
    BuildError::Memory { what: format!("not enough memory for a buffer of {bytes} bytes") }
}

/// Makes room for `more` bytes behind those that are there.
pub(crate) fn reserve(buffer: &mut Vec<u8>, more: usize) -> Result<(), BuildError> {
    buffer.try_reserve_exact(more).map_err(|_| failed(more))
}

/// Makes a buffer `length` bytes long; what is new are zeros.
pub(crate) fn resize(buffer: &mut Vec<u8>, length: usize) -> Result<(), BuildError> {
    reserve(buffer, length.saturating_sub(buffer.len()))?;
    buffer.resize(length, 0);
    Ok(())
}

/// A buffer of `length` zeros.
pub(crate) fn zeros(length: usize) -> Result<Box<[u8]>, BuildError> {
    let mut buffer = Vec::new();
    resize(&mut buffer, length)?;
    Ok(buffer.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let mut buffer = vec![7];
        let error = resize(&mut buffer, usize::MAX / 2).unwrap_err().to_string();
        assert!(error.starts_with("not enough memory for a buffer of "), "{error}");
        assert_eq!(buffer, [7]);
        resize(&mut buffer, 3).unwrap();
        assert_eq!(buffer, [7, 0, 0]);
        resize(&mut buffer, 1).unwrap();
        assert_eq!((buffer, zeros(2).unwrap()), (vec![7], [0, 0].into()));
    }
}
