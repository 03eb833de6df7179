//! The file of settings, in TOML.

use std::io::Write;

use judged::config::{Config, Settings};
use tempfile::NamedTempFile;

pub fn check(bytes: &[u8]) {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("room for a small file");
    let resolved = match Settings::default().resolve(None, Some(file.path())) {
        Ok(resolved) => resolved,
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains(&*file.path().to_string_lossy()), "{told}");
            return;
        }
    };
    match Config::new(&resolved) {
        Ok(config) => {
            let allowed = &resolved["allow_insecure_listen"].value;
            let near = [config.listen, config.control_listen];
            let near = near.iter().all(|addr| addr.ip().is_loopback());
            let kept_out = config.edge.guard.keeps_strangers_out();
            assert!(near || kept_out || allowed == true, "strangers are let in");
            assert!(config.max_message_bytes > 0 && config.edge.limits.connections > 0);
            assert!(config.engine.slots > 0 && config.engine.queue > 0);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
