//! Types of all kinds, traced.
