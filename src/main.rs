//! The `banyan` command.

/// Request bodies and heads come and go at high rates; glibc gives pages back and faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    banyan::cli::run()
}
