//! The addresses that a configuration listens on, with the keys that say so.

use crate::config::{Config, Listening};

/// Returns the addresses that a configuration listens on: those of clients, and that of the admin listener.
pub fn listening(config: &Config) -> Vec<Listening> {
    let listen = config.listen.iter().enumerate().map(|(index, listen)| {
        let entry = format!("listen[{index}]");
        let paths = [
            format!("{entry}.address"),
            entry,
            "listen.address".to_owned(),
            "listen".to_owned(),
        ];
        let written = paths
            .into_iter()
            .find(|path| config.written.place(path).is_some());
        let path = written.unwrap_or_else(|| "listen".to_owned());
        (&listen.address, path)
    });
    let admin = config.admin.listen.iter();
    let admin = admin.map(|address| (address, "admin.listen".to_owned()));
    let all = listen.chain(admin);
    all.map(|(address, path)| Listening {
        address: address.clone(),
        place: config.written.place(&path),
        path,
    })
    .collect()
}
