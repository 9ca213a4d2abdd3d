//! Lock files: what is written is read back, and what a change breaks is said.

mod compare;
mod text;
