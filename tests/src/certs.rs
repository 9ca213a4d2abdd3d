//! Certificates made for one test, as the files that servers and clients read.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use rpc::tls::{ClientTls, ServerTls};

/// Who signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
    pub der: Vec<u8>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn server(&self, hosts: &[&str]) -> Identity {
        self.issue(named("a server", hosts), ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn client(&self, name: &str) -> Identity {
        self.issue(named(name, &[]), ExtendedKeyUsagePurpose::ClientAuth)
    }

    pub fn expired_server(&self, hosts: &[&str]) -> Identity {
        self.issue(expired(named("a server", hosts)), ExtendedKeyUsagePurpose::ServerAuth)
    }

    pub fn expired_client(&self, name: &str) -> Identity {
        self.issue(expired(named(name, &[])), ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&self, mut params: CertificateParams, purpose: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec() }
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    params
}

/// A folder with the files of one server and its clients. Gone when dropped.
pub struct Pki {
    folder: PathBuf,
    /// Of servers.
    pub servers: Authority,
    /// Of clients.
    pub clients: Authority,
    pub server: Identity,
    pub client: Identity,
}

/// Whom the server's certificate is for.
pub const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Pki {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = std::env::temp_dir().join(format!("rpc-tests-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&folder).unwrap();
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let (server, client) = (servers.server(&HOSTS), clients.client("a client"));
        let pki = Self { folder, servers, clients, server, client };
        pki.write("servers.pem", &pki.servers.pem());
        pki.write("clients.pem", &pki.clients.pem());
        pki.put("server", &pki.server);
        pki.put("client", &pki.client);
        pki
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// As tools that renew certificates do: the file is there at once, whole.
    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path(file), self.path("new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    /// `NAME.pem` and `NAME.key`.
    pub fn put(&self, name: &str, identity: &Identity) {
        self.write(&format!("{name}.pem"), &identity.certificate);
        self.write(&format!("{name}.key"), &identity.key);
    }

    /// Any client may come.
    pub fn server_tls(&self) -> ServerTls {
        ServerTls::from_pem_files(self.path("server.pem"), self.path("server.key")).unwrap()
    }

    /// Clients show certificates.
    pub fn mutual_tls(&self) -> ServerTls {
        self.server_tls().client_ca(self.path("clients.pem")).unwrap()
    }

    /// Trusts the server, shows nothing.
    pub fn client_tls(&self) -> ClientTls {
        ClientTls::from_ca_file(self.path("servers.pem")).unwrap().server_name("localhost").unwrap()
    }

    /// Trusts the server, and shows the certificate of this name.
    pub fn client_tls_as(&self, name: &str) -> ClientTls {
        let (certificate, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        self.client_tls().client_certificate(certificate, key).unwrap()
    }
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Pki {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
