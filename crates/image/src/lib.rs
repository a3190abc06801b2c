//! The EROFS reader: opens an image, walks it and reads it, and never trusts a byte.
