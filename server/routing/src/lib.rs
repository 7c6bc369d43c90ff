//! Rules as pure functions: attributes of a study in, actions out. No I/O.
