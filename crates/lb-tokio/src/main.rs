//! temp
fn main() -> std::process::ExitCode {
    let file = std::env::args().nth(3).unwrap();
    let settings = lb_core::config::parse(&file, &std::fs::read(&file).unwrap(), &|n| {
        std::env::var(n).ok()
    })
    .unwrap_or_else(|e| panic!("{e}"));
    let rt = lb_tokio::Tokio::new();
    rt.block_on(async {
        lb_engine::run::run(settings, &rt, lb_tokio::signals().unwrap(), |c| c).await
    })
    .unwrap()
}
