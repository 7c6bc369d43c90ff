//! The method: a volume, a bank and models (as traits) in; a label volume, confidence and provenance out.
//! No I/O, no clock, no globals.
