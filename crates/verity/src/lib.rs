//! dm-verity hash trees, their superblock, and detached signatures over root hashes.
