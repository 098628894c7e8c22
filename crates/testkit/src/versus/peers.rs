//! The balancers that are compared, and how each is told to do the same.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

/// A balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Peer {
    LbTokio,
    LbAsyncStd,
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
    Traefik,
    /// HAProxy with `check` behind each server: for the drill alone.
    #[value(skip)]
    HaproxyCheck,
}

/// How a balancer is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Equal work: keep-alive both ways, `X-Forwarded-For`, no access log, no checks that others don't make, room for
    /// the crowd.
    Equal,
    /// Ours alone: the same, but nobody is checked, and there is room for ten thousand requests at a time, too. Requests are
    /// all there is.
    Bare,
    /// As it comes: listen, three servers in turn, nothing else.
    Stock,
}

impl Style {
    /// Is the work equal?
    fn is_equal(self) -> bool {
        self != Self::Stock
    }
}

/// What a balancer is started with.
#[derive(Clone, Debug)]
pub(super) struct Setup<'a> {
    pub(super) port: u16,
    pub(super) backends: &'a [SocketAddr],
    pub(super) workers: usize,
    pub(super) style: Style,
    /// A directory of its own.
    pub(super) directory: &'a Path,
    /// Do we run as root? nginx would give its workers to somebody else.
    pub(super) root: bool,
    /// How many files a process may have open.
    pub(super) files: u64,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Peer {
    /// Our own.
    pub(super) const OURS: [Self; 2] = [Self::LbTokio, Self::LbAsyncStd];
    /// Those whose better one is the measure.
    pub(super) const MEASURE: [Self; 2] = [Self::Nginx, Self::Haproxy];

    /// What it is called in commands and tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LbTokio => "lb-tokio",
            Self::LbAsyncStd => "lb-async-std",
            Self::HaproxyCheck => "haproxy-check",
            other => other.program(),
        }
    }

    /// What its program is called.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::LbTokio => "lb-tokio",
            Self::LbAsyncStd => "lb-async-std",
            Self::Nginx => "nginx",
            Self::Haproxy | Self::HaproxyCheck => "haproxy",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }

    /// How it is asked for its version.
    pub(super) fn version_argument(self) -> &'static str {
        match self {
            Self::Nginx | Self::Haproxy => "-v",
            Self::Caddy | Self::Traefik => "version",
            _ => "--version",
        }
    }

    /// Writes its configuration and says how to start it.
    pub(super) fn launch(self, program: PathBuf, setup: &Setup<'_>) -> io::Result<Launch> {
        let (name, text) = match self {
            Self::LbTokio | Self::LbAsyncStd => ("lb.toml", lb(setup)),
            Self::Nginx => ("nginx.conf", nginx(setup)),
            Self::Haproxy => ("haproxy.cfg", haproxy(setup, "")),
            Self::HaproxyCheck => ("haproxy.cfg", haproxy(setup, " check")),
            Self::Envoy => ("envoy.json", envoy(setup)),
            Self::Caddy => ("Caddyfile", caddy(setup)),
            Self::Traefik => {
                fs::write(setup.directory.join("routes.yml"), traefik_routes(setup))?;
                ("traefik.yml", traefik(setup))
            }
        };
        let file = setup.directory.join(name);
        fs::write(&file, text)?;
        let file = file.into_os_string();
        let plain = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        let mut arguments = match self {
            Self::LbTokio | Self::LbAsyncStd => plain(&["run", "--config"]),
            Self::Nginx => {
                let mut arguments = plain(&["-e", "stderr", "-p"]);
                arguments.push(setup.directory.into());
                arguments.push("-c".into());
                arguments
            }
            Self::Haproxy | Self::HaproxyCheck => plain(&["-db", "-q", "-f"]),
            Self::Envoy => {
                let workers = setup.workers.to_string();
                plain(&[
                    "--disable-hot-restart",
                    "-l",
                    "error",
                    "--concurrency",
                    &workers,
                    "-c",
                ])
            }
            Self::Caddy => plain(&["run", "--adapter", "caddyfile", "--config"]),
            Self::Traefik => Vec::new(),
        };
        if self == Self::Traefik {
            let mut argument = OsString::from("--configFile=");
            argument.push(file);
            arguments.push(argument);
        } else {
            arguments.push(file);
        }
        Ok(Launch {
            program,
            arguments,
            environment: vec![
                ("GOMAXPROCS", setup.workers.to_string().into()),
                ("HOME", setup.directory.into()),
            ],
        })
    }
}

fn lines(backends: &[SocketAddr], line: impl Fn(usize, &SocketAddr) -> String) -> String {
    let numbered = backends.iter().enumerate();
    numbered
        .map(|(index, backend)| line(index, backend))
        .collect()
}

fn lb(setup: &Setup<'_>) -> String {
    let servers: Vec<_> = setup
        .backends
        .iter()
        .map(|backend| format!("\"{backend}\""))
        .collect();
    let mut text = format!(
        "workers = {}\n\n[listen]\nweb = \"127.0.0.1:{}\"\n\n[pool.app]\nservers = [{}]\n",
        setup.workers,
        setup.port,
        servers.join(", ")
    );
    if setup.style == Style::Bare {
        text += "health = \"off\"\n\n[pool.app.limits]\nin-flight-per-server = 20000\nidle-per-worker = 10000\n";
    }
    if setup.style.is_equal() {
        text += "\n[limits]\nconnections = 20000\n\n[log]\naccess = \"off\"\n";
    }
    text
}

fn nginx(setup: &Setup<'_>) -> String {
    let directory = setup.directory.display();
    let equal = setup.style.is_equal();
    let mut text = String::from("daemon off;\nerror_log stderr crit;\n");
    if setup.root {
        text += "user root;\n";
    }
    let _ = writeln!(
        text,
        "worker_processes {};\npid {directory}/pid;",
        setup.workers
    );
    if equal {
        let _ = writeln!(
            text,
            "events {{ worker_connections {}; }}",
            setup.files.saturating_sub(100)
        );
    } else {
        text += "events {}\n";
    }
    text += "http {\n  access_log off;\n";
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let _ = writeln!(text, "  {kind}_temp_path {directory}/{kind};");
    }
    if equal {
        text += "  keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on; client_max_body_size 0;\n";
    }
    text += "  upstream app {\n";
    text += &lines(setup.backends, |_, backend| {
        format!(
            "    server {backend}{};\n",
            if equal { " max_fails=0" } else { "" }
        )
    });
    if equal {
        text += "    keepalive 2048; keepalive_requests 1000000000; keepalive_timeout 600s;\n";
    }
    text += "  }\n  server {\n";
    let options = if equal { " reuseport backlog=4096" } else { "" };
    let _ = writeln!(text, "    listen 127.0.0.1:{}{options};", setup.port);
    text += "    location / {\n      proxy_pass http://app;\n";
    if equal {
        text += "      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;\n";
    }
    text + "    }\n  }\n}\n"
}

fn haproxy(setup: &Setup<'_>, check: &str) -> String {
    let equal = setup.style.is_equal();
    let mut text = format!("global\n  nbthread {}\n", setup.workers);
    if equal {
        // Two files for each client, and some for itself.
        let _ = writeln!(text, "  maxconn {}", setup.files.saturating_sub(400) / 2);
    }
    text += "defaults\n  mode http\n  timeout connect 5s\n";
    text += if equal {
        "  timeout client 600s\n  timeout server 60s\n  timeout http-keep-alive 600s\n  option forwardfor\n  http-reuse always\n"
    } else {
        "  timeout client 50s\n  timeout server 50s\n"
    };
    let backlog = if equal { " backlog 4096" } else { "" };
    let _ = write!(
        text,
        "frontend web\n  bind 127.0.0.1:{}{backlog}\n  default_backend app\nbackend app\n  balance roundrobin\n",
        setup.port
    );
    let kept = if equal {
        " pool-max-conn -1 pool-purge-delay 600s"
    } else {
        ""
    };
    text + &lines(setup.backends, |index, backend| {
        format!("  server s{index} {backend}{kept}{check}\n")
    })
}

fn envoy(setup: &Setup<'_>) -> String {
    let equal = setup.style.is_equal();
    let address = |host: String, port: u16| json!({ "socket_address": { "address": host, "port_value": port } });
    let ends: Vec<_> = setup
        .backends
        .iter()
        .map(|backend| {
            json!({ "endpoint": { "address": address(backend.ip().to_string(), backend.port()) } })
        })
        .collect();
    let api = "type.googleapis.com/envoy.extensions.filters";
    let mut route = json!({ "cluster": "app" });
    let mut cluster = json!({
        "name": "app", "type": "STATIC", "lb_policy": "ROUND_ROBIN",
        "load_assignment": { "cluster_name": "app", "endpoints": [{ "lb_endpoints": ends }] },
    });
    if equal {
        route["timeout"] = json!("0s");
        let many = 100_000;
        cluster["circuit_breakers"] = json!({ "thresholds": [
            { "max_connections": many, "max_pending_requests": many, "max_requests": many }] });
    }
    let manager = json!({
        "@type": format!("{api}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "web", "codec_type": "HTTP1", "use_remote_address": true,
        "generate_request_id": !equal,
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": route }] }] },
        "http_filters": [{ "name": "envoy.filters.http.router",
            "typed_config": { "@type": format!("{api}.http.router.v3.Router"), "suppress_envoy_headers": equal } }],
    });
    let chain = json!({ "filters": [
        { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] });
    json!({ "static_resources": {
        "listeners": [{ "name": "web", "address": address("127.0.0.1".into(), setup.port), "filter_chains": [chain] }],
        "clusters": [cluster],
    } })
    .to_string()
}

fn caddy(setup: &Setup<'_>) -> String {
    let servers: Vec<_> = setup.backends.iter().map(ToString::to_string).collect();
    let transport = match setup.style {
        Style::Equal | Style::Bare => {
            "    transport http {\n      keepalive_idle_conns 0\n      keepalive_idle_conns_per_host 4096\n      compression off\n    }\n"
        }
        Style::Stock => "",
    };
    format!(
        "{{\n  admin off\n  persist_config off\n  auto_https off\n  storage file_system {}/store\n}}\n\
         http://:{} {{\n  bind 127.0.0.1\n  reverse_proxy {} {{\n    lb_policy round_robin\n{transport}  }}\n}}\n",
        setup.directory.display(),
        setup.port,
        servers.join(" ")
    )
}

fn traefik(setup: &Setup<'_>) -> String {
    format!(
        "global: {{checkNewVersion: false, sendAnonymousUsage: false}}\nlog: {{level: ERROR}}\n\
         entryPoints:\n  web: {{address: \"127.0.0.1:{}\"}}\nproviders: {{file: {{filename: \"{}/routes.yml\"}}}}\n",
        setup.port,
        setup.directory.display()
    )
}

fn traefik_routes(setup: &Setup<'_>) -> String {
    let servers = lines(setup.backends, |_, backend| {
        format!("          - url: \"http://{backend}\"\n")
    });
    let (uses, transport) = match setup.style {
        Style::Equal | Style::Bare => (
            "        serversTransport: many\n",
            "  serversTransports:\n    many: {maxIdleConnsPerHost: 4096, disableHTTP2: true}\n",
        ),
        Style::Stock => ("", ""),
    };
    format!(
        "http:\n  routers:\n    all: {{rule: \"PathPrefix(`/`)\", entryPoints: [web], service: app}}\n\
         \x20 services:\n    app:\n      loadBalancer:\n{uses}        servers:\n{servers}{transport}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Peer; 8] = [
        Peer::LbTokio,
        Peer::LbAsyncStd,
        Peer::Nginx,
        Peer::Haproxy,
        Peer::HaproxyCheck,
        Peer::Envoy,
        Peer::Caddy,
        Peer::Traefik,
    ];

    fn setup<'a>(style: Style, backends: &'a [SocketAddr], directory: &'a Path) -> Setup<'a> {
        Setup {
            port: 8123,
            backends,
            workers: 2,
            style,
            directory,
            root: false,
            files: 20_000,
        }
    }

    #[test]
    fn every_peer_is_told_where_to_listen_and_all_its_servers() {
        let backends = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], 9_000 + port)));
        let scratch = crate::process::Scratch::new();
        for style in [Style::Equal, Style::Stock] {
            for peer in ALL {
                let setup = setup(style, &backends, scratch.path());
                let launch = peer.launch("/bin/peer".into(), &setup).unwrap();
                let named = launch.arguments.last().unwrap().to_str().unwrap();
                let file = named.trim_start_matches("--configFile=");
                let mut text = fs::read_to_string(file).unwrap();
                if peer == Peer::Traefik {
                    text += &fs::read_to_string(scratch.path().join("routes.yml")).unwrap();
                }
                assert!(text.contains("8123"), "{peer:?}: {text}");
                // The directory's name has digits, too.
                let text = text.replace(scratch.path().to_str().unwrap(), "");
                for backend in backends {
                    let port = backend.port().to_string();
                    assert_eq!(text.matches(&port).count(), 1, "{peer:?}: {text}");
                }
            }
        }
    }

    #[test]
    fn our_own_configuration_is_one_that_we_accept() {
        let backends = [SocketAddr::from(([127, 0, 0, 1], 9_001))];
        for style in [Style::Equal, Style::Bare, Style::Stock] {
            let text = lb(&setup(style, &backends, Path::new("/")));
            assert!(accepts(&text), "{text}");
        }
    }

    fn accepts(text: &str) -> bool {
        lb_core::config::parse("lb.toml", text.as_bytes(), &|_| None).is_ok()
    }

    #[test]
    fn nginx_keeps_its_workers_ours_only_as_root() {
        let mut setup = setup(Style::Stock, &[], Path::new("/"));
        assert!(!nginx(&setup).contains("user"));
        setup.root = true;
        assert!(nginx(&setup).contains("user root;\n"));
    }
}
