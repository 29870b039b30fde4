//! Checks of the keys of the resolver, the agent's side and its own.

use std::path::PathBuf;

use http::Uri;

use super::Checks;
use crate::config::keys::Config;
use crate::config::tls::ServerTls;

impl Checks<'_> {
    /// What both sides need to reach and trust each other.
    pub(super) fn resolver(&mut self, config: &Config) {
        if let Some(url) = &config.kubernetes.resolver {
            self.require(is_url(url), "kubernetes.resolver", || {
                format!("`{url}` is no URL with a host and a port; write `http://host:7443` or `https://host:7443`")
            });
        }
        let client = &config.kubernetes.resolver_tls;
        self.pair(
            "kubernetes.resolver_tls",
            client.cert_file.as_ref(),
            client.key_file.as_ref(),
        );
        self.server_tls("resolver.tls", &config.resolver.tls);
    }

    /// What a server needs to be trusted, and to know whom to trust.
    pub(super) fn server_tls(&mut self, section: &str, tls: &ServerTls) {
        self.pair(section, tls.cert_file.as_ref(), tls.key_file.as_ref());
        let fine = tls.client_ca_file.is_none() || tls.cert_file.is_some();
        self.require(fine, &format!("{section}.client_ca_file"), || {
            format!("needs TLS; set `{section}.cert_file` and `{section}.key_file` too")
        });
    }

    /// What is set of the agent's side and not used.
    pub(super) fn unused_by_resolver(&mut self, config: &Config) {
        let kubernetes = &config.kubernetes;
        let tls = &kubernetes.resolver_tls;
        let url = kubernetes.resolver.as_deref().unwrap_or_default();
        let plain = !url.starts_with("https:");
        let files = [&tls.ca_file, &tls.cert_file, &tls.key_file];
        let why = "`kubernetes.resolver` is no `https` URL";
        self.unused_files(plain, "kubernetes.resolver_tls", files, why);
        let both = kubernetes.resolver.is_some() && config.peers.kubernetes.is_on();
        self.require(!both, "peers.kubernetes", || {
            "has no effect: `kubernetes.resolver` is set".to_owned()
        });
    }

    pub(super) fn pair(
        &mut self,
        section: &str,
        certificate: Option<&PathBuf>,
        key: Option<&PathBuf>,
    ) {
        let (set, missing) = match (certificate, key) {
            (Some(_), None) => ("cert_file", "key_file"),
            (None, Some(_)) => ("key_file", "cert_file"),
            _ => return,
        };
        self.require(false, &format!("{section}.{set}"), || {
            format!("is of no use alone; set `{section}.{missing}` too")
        });
    }
}

fn is_url(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().is_some_and(|authority| {
        !authority.host().is_empty()
            && authority.port_u16().is_some()
            && !authority.as_str().contains('@')
    });
    scheme && bare && authority
}
