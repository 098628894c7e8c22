//! Our balancers beside the well-known ones: see [`lb_testkit::versus`].

fn main() -> std::process::ExitCode {
    lb_testkit::versus::main()
}
