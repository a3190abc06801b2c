//! What the running kernel says of its page cache and its EROFS mounts.
