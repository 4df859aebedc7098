//! A certificate authority of a test's own.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

use super::{folder, redis::TLS_PORT};

/// The authority, with a server's certificate that it has signed.
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// A new one, which nobody has heard of. Its server is 127.0.0.1.
    pub fn new() -> Self {
        let folder = folder();
        // A Redis that root starts runs as another account.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open the folder");
        let mut own = CertificateParams::new(Vec::new()).expect("no name is wrong");
        // Two of one name would be taken for one whose key has changed.
        own.distinguished_name.push(DnType::CommonName, folder.path().display().to_string());
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let own_key = KeyPair::generate().expect("a key");
        write(&folder, "ca.pem", &own.self_signed(&own_key).expect("a certificate").pem());
        let issuer = Issuer::new(own, own_key);
        let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        let key = KeyPair::generate().expect("a key");
        write(&folder, "server.pem", &server.signed_by(&key, &issuer).expect("a certificate").pem());
        write(&folder, "server.key", &key.serialize_pem());
        Authority { folder }
    }

    /// The file with its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The file with the server's key.
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// Settings of a Redis that shows the server's certificate on a port with TLS.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        vec![
            (TLS_PORT, "0".to_owned()),
            ("tls-cert-file", file("server.pem")),
            ("tls-key-file", file("server.key")),
            ("tls-ca-cert-file", file("ca.pem")),
            ("tls-auth-clients", "no".to_owned()),
            // Members of a cluster tell clients of the ports with TLS then.
            ("tls-cluster", "yes".to_owned()),
        ]
    }
}

fn write(folder: &TempDir, name: &str, text: &str) {
    let path: &Path = folder.path();
    fs::write(path.join(name), text).expect("write");
}
