//! Decoders for the compression algorithms of EROFS, safe on hostile input.
