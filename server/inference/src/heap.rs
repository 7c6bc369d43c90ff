//! What the C library keeps of memory that was freed.

/// Gives it back to the system. Loading sessions frees much in small pieces: of 122 MB that a server held after its start,
/// this is 17. glibc keeps them for later; elsewhere this does nothing.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes no pointer, and may be made by any thread at any time (malloc_trim(3), "MT-Safe").
    unsafe {
        libc::malloc_trim(0);
    }
}
