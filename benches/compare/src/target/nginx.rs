//! nginx, configured for streams as its documentation says: no response buffering, upstream keep-alive, and
//! WebSockets. Bodies of requests are neither limited nor written to files, and what the model compresses is
//! decompressed for clients that do not ask for it.

use std::process::Command;

use super::{Program, Stanza, on_path, version_of};

pub(super) const STANZA: Stanza = Stanza {
    name: "nginx",
    program: |_| Program::At(on_path("nginx")),
    version: |program| version_of(program, "-v"),
    command: |place| {
        let directory = place.directory.display();
        // With a master that runs as root, workers would otherwise run as a user who cannot enter the directory.
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let http2 = if place.setup.client.is_h2() {
            " http2"
        } else {
            ""
        };
        let (ssl, files) = match &place.tls {
            Some(files) => (
                " ssl",
                format!(
                    // Older versions offer TLS 1.2 at most unless told otherwise.
                    "ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
                    files.certificate.display(),
                    files.key.display()
                ),
            ),
            None => ("", String::new()),
        };
        let gunzip = if place.setup.gzip { "gunzip on;" } else { "" };
        let workers = place.setup.workers;
        let config = format!(
            "daemon off; {user}
            worker_processes {workers};
            worker_rlimit_nofile 65536;
            pid {directory}/pid;
            error_log {directory}/error.log;
            events {{ worker_connections 32768; }}
            http {{
                access_log off;
                keepalive_requests 1000000;
                client_body_temp_path {directory}/body;
                proxy_temp_path {directory}/proxy;
                fastcgi_temp_path {directory}/fastcgi;
                uwsgi_temp_path {directory}/uwsgi;
                scgi_temp_path {directory}/scgi;
                upstream model {{ server {upstream}; keepalive 64; keepalive_requests 1000000; }}
                map $http_upgrade $upgrade {{ default upgrade; '' ''; }}
                server {{
                    listen {listen}{ssl}{http2};
                    {files} {gunzip}
                    client_max_body_size 0;
                    proxy_request_buffering off;
                    location / {{
                        proxy_pass http://model;
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection $upgrade;
                        proxy_buffering off;
                        proxy_read_timeout 1h;
                        proxy_send_timeout 1h;
                        send_timeout 1h;
                    }}
                }}
            }}",
            upstream = place.upstream,
            listen = place.listen,
        );
        let mut command = Command::new(place.program);
        command
            .arg("-p")
            .arg(place.directory)
            .arg("-c")
            .arg(place.file("nginx.conf", &config)?);
        command.arg("-e").arg(place.directory.join("error.log"));
        Ok(command)
    },
    ..Stanza::USUAL
};
