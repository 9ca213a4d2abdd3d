//! Lock files: what is written is read back, and what cannot be read is named by its line.

mod text;
