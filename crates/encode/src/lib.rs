//! Encoders for the compression algorithms of EROFS that fill an output of a fixed size.
