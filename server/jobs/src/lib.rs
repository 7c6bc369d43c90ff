//! A durable queue of jobs with progress, cancellation and restart after a crash. Never knows what a job does.
