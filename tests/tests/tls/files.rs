//! Files of certificates and keys: those that change, and those that cannot be used.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rpc::tls::{ClientTls, ServerTls, rustls};
use rpc::transport::{Dial, Transport};
use rpc::{Client, Error, ErrorKind, Executed, Limits, Server};
use rpc_tests::certs::{Authority, HOSTS};
use rpc_tests::{Pki, settle, virtual_time, wire};
use rustls::pki_types::CertificateDer;

use crate::{Door, Glass, MirrorClient, MirrorServer, connect, roots, serve};

/// The DER of the certificate that the server shows to a new connection.
async fn shown(door: &Door, pki: &Pki) -> Vec<u8> {
    #[derive(Debug)]
    struct Keeps(Arc<rustls::client::WebPkiServerVerifier>, Mutex<Vec<u8>>);
    impl rustls::client::danger::ServerCertVerifier for Keeps {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            between: &[CertificateDer<'_>],
            name: &rustls::pki_types::ServerName<'_>,
            ocsp: &[u8],
            now: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            *self.1.lock().unwrap() = certificate.to_vec();
            self.0.verify_server_cert(certificate, between, name, ocsp, now)
        }
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls12_signature(message, certificate, signature)
        }
        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            self.0.verify_tls13_signature(message, certificate, signature)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(Arc::new(roots(pki)), provider.clone()).build().unwrap();
    let keeps = Arc::new(Keeps(verifier, Mutex::default()));
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(keeps.clone()).with_no_client_auth();
    let tls = ClientTls::from_config(Arc::new(config)).server_name("localhost").unwrap();
    let client = connect(door, tls).await.unwrap();
    assert_eq!(client.add(1, 2).await.unwrap(), 3);
    client.close().await;
    std::mem::take(&mut *keeps.1.lock().unwrap())
}

/// What is long enough for a server to look at its files: conformance 58 has five seconds.
async fn a_while() {
    tokio::time::sleep(Duration::from_secs(5)).await;
}

/// Conformance 58: new handshakes use the new certificate within 5 s, old connections live, a broken file keeps the old one
#[test]
fn changed_files_are_used_and_broken_ones_are_not() {
    virtual_time(async {
        let pki = Pki::new();
        let (door, lab) = serve(pki.server_tls(), Limits::default());
        let old = connect(&door, pki.client_tls()).await.unwrap();
        let call = tokio::spawn(old.wait(1).timeout(Duration::from_secs(3600)).owned());
        lab.until_live(1).await;
        assert_eq!(shown(&door, &pki).await, pki.server.der);

        let second = pki.servers.server(&HOSTS);
        pki.put("server", &second);
        a_while().await;
        assert_eq!(shown(&door, &pki).await, second.der);

        // Broken in several ways, each for as long as it takes to be seen.
        let third = pki.servers.server(&HOSTS);
        for certificate in ["", "no PEM", &third.certificate, &third.certificate[..third.certificate.len() / 2]] {
            pki.write("server.pem", certificate);
            a_while().await;
            assert_eq!(shown(&door, &pki).await, second.der, "{certificate}");
        }
        std::fs::remove_file(pki.path("server.pem")).unwrap();
        a_while().await;
        assert_eq!(shown(&door, &pki).await, second.der);

        // The other half arrives.
        pki.put("server", &third);
        a_while().await;
        assert_eq!(shown(&door, &pki).await, third.der);

        // Written over in place, as by an editor.
        let fourth = pki.servers.server(&HOSTS);
        std::fs::write(pki.path("server.pem"), &fourth.certificate).unwrap();
        std::fs::write(pki.path("server.key"), &fourth.key).unwrap();
        a_while().await;
        assert_eq!(shown(&door, &pki).await, fourth.der);

        lab.open(1);
        assert_eq!(call.await.unwrap().unwrap(), 1, "on the connection of the first certificate");
        assert_eq!(old.add(1, 2).await.unwrap(), 3);
    });
}

/// Conformance 58: at once, when asked; authorities of clients too
#[test]
fn files_are_read_again_on_request() {
    virtual_time(async {
        let pki = Pki::new();
        let tls = pki.mutual_tls();
        assert!(!tls.reload().unwrap(), "nothing has changed");
        let (door, lab) = serve(tls.clone(), Limits::default());
        assert_eq!(connect(&door, pki.client_tls_as("client")).await.unwrap().add(1, 2).await.unwrap(), 3);

        let others = Authority::new("other clients");
        pki.put("other", &others.client("one of them"));
        pki.write("clients.pem", &others.pem());
        assert!(tls.reload().unwrap());
        assert!(!tls.reload().unwrap());
        let error = connect(&door, pki.client_tls_as("client")).await.unwrap().wait(1).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Unauthenticated, Executed::No));
        assert_eq!(connect(&door, pki.client_tls_as("other")).await.unwrap().add(1, 2).await.unwrap(), 3);

        pki.write("clients.pem", "nobody");
        let error = tls.reload().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("clients.pem"), "{error}");
        assert_eq!(connect(&door, pki.client_tls_as("other")).await.unwrap().add(1, 2).await.unwrap(), 3);
        assert_eq!(lab.begun(), 0);
    });
}

/// Two changes may come within one tick of the file system's clock, and look the same but for what is in the file
#[test]
fn a_change_that_leaves_no_trace_but_itself_is_found() {
    virtual_time(async {
        let pki = Pki::new();
        let moment = std::time::SystemTime::now() + Duration::from_secs(1);
        let place = |file: &str, text: &str| {
            let path = pki.path(file);
            std::fs::write(&path, text).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(moment).unwrap();
        };
        place("server.pem", &pki.server.certificate);
        place("server.key", &pki.server.key);
        let tls = pki.server_tls();
        // Signatures differ in length.
        let renewed = std::iter::repeat_with(|| pki.servers.server(&HOSTS)).find(|new| new.certificate.len() == pki.server.certificate.len());
        let renewed = renewed.unwrap();
        place("server.pem", &renewed.certificate);
        place("server.key", &renewed.key);
        assert!(tls.reload().unwrap());
        let (door, _lab) = serve(tls, Limits::default());
        assert_eq!(shown(&door, &pki).await, renewed.der);
    });
}

/// Each connection has a server of its own, which can be ended.
struct Fresh {
    tls: ServerTls,
    last: Arc<Mutex<Option<tokio::task::AbortHandle>>>,
}

#[rpc::async_trait]
impl Dial for Fresh {
    async fn dial(&self) -> io::Result<Transport> {
        let (near, far) = tokio::io::duplex(16 << 10);
        let server = Server::new().add(MirrorServer::new(Glass)).tls(self.tls.clone());
        let task = tokio::spawn(server.serve_connection(Transport::over(far, "far")));
        *self.last.lock().unwrap() = Some(task.abort_handle());
        Ok(Transport::over(near, "near"))
    }
}

/// Certificates of clients run out as well: the next connection shows the new one, and the old one if that is broken
#[test]
fn a_client_shows_its_new_certificate_when_it_dials_again() {
    virtual_time(async {
        let (pki, last) = (Pki::new(), Arc::<Mutex<Option<tokio::task::AbortHandle>>>::default());
        let dial = Fresh { tls: pki.mutual_tls(), last: last.clone() };
        let mirror: MirrorClient = Client::options().tls(pki.client_tls_as("client")).dial(dial).await.unwrap().into();
        assert_eq!(mirror.who().await.unwrap(), std::slice::from_ref(&pki.client.der));
        let hang_up = async || {
            last.lock().unwrap().take().unwrap().abort();
            settle().await;
        };

        let renewed = pki.clients.client("a client, renewed");
        pki.put("client", &renewed);
        assert_eq!(mirror.who().await.unwrap(), std::slice::from_ref(&pki.client.der), "the connection lives");
        hang_up().await;
        assert_eq!(mirror.who().await.unwrap(), std::slice::from_ref(&renewed.der));

        pki.write("client.key", &pki.client.key);
        hang_up().await;
        assert_eq!(mirror.who().await.unwrap(), [renewed.der]);
    });
}

fn text(error: &Error) -> String {
    format!("{error} {error:?} {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default())
}

/// Secrets never in Debug or errors; whatever is in a file, it is no panic
#[test]
fn a_file_that_cannot_be_used_is_named_and_its_content_is_not() {
    let pki = Pki::new();
    let secret: String = pki.server.key.lines().nth(1).unwrap().to_owned();
    let (certificate, key) = (&pki.server.certificate, &pki.server.key);
    let one_line = key.replace('\n', "");
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let odd_keys = [
        ("", "no private key"),
        ("\n\n", "no private key"),
        (certificate, "no private key"),
        (&encrypted, "an encrypted one"),
        (&one_line, "server.key"),
        (&key[..key.len() / 2], "does not end"),
        (&key.replace(&secret[..8], "????????"), "not base64"),
        (&key.replace(&secret[..8], "AAAAAAAA"), "private key"),
        (&pki.client.key, "it is not the key of"),
        ("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "private key"),
    ];
    for (text_of_key, word) in odd_keys {
        pki.write("server.key", text_of_key);
        let error = ServerTls::from_pem_files(pki.path("server.pem"), pki.path("server.key")).unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
        let text = text(&error);
        assert!(text.contains("server.key") && text.contains(word), "{word}: {text}");
        assert!(!text.contains(&secret[8..24]), "{text}");
    }
    pki.write("server.key", key);
    let odd_certificates = ["", key, &certificate[..certificate.len() / 2], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"];
    for certificate in odd_certificates {
        pki.write("odd.pem", certificate);
        for error in [
            ServerTls::from_pem_files(pki.path("odd.pem"), pki.path("server.key")).unwrap_err(),
            pki.server_tls().client_ca(pki.path("odd.pem")).unwrap_err(),
            ClientTls::from_ca_file(pki.path("odd.pem")).unwrap_err(),
            pki.client_tls().client_certificate(pki.path("odd.pem"), pki.path("client.key")).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = text(&error);
            assert!(text.contains("odd.pem") && !text.contains(&secret[8..24]), "{text}");
        }
    }
    for missing in [pki.path("nothing.pem"), pki.path("")] {
        let error = ServerTls::from_pem_files(&missing, pki.path("server.key")).unwrap_err();
        assert!(text(&error).contains("cannot be read"), "{error}");
    }
    pki.write("long.pem", &certificate.repeat(3000));
    assert!(ClientTls::from_ca_file(pki.path("long.pem")).unwrap_err().to_string().contains("longer than 1 MiB"));
    // With Windows' ends of lines, with words around, and both in one file.
    pki.write("both.pem", &format!("Subject: a server\n{key}and\n{certificate}").replace('\n', "\r\n"));
    let (server, client) = (ServerTls::from_pem_files(pki.path("both.pem"), pki.path("both.pem")).unwrap(), pki.client_tls_as("client"));
    let options = Client::options().tls(client.clone());
    for debug in [format!("{server:?}"), format!("{client:?}"), format!("{options:?}"), format!("{:?}", Server::new().tls(server.clone()))] {
        assert!(debug.len() < 1000 && !debug.contains("BEGIN") && !debug.contains(&secret[..8]), "{debug}");
    }
}

/// Flipped, cut and doubled bytes, in the text and below it
#[test]
fn no_file_makes_a_panic() {
    let pki = Pki::new();
    let mut random = wire::Random::new(57);
    let mut used = 0;
    for _ in 0..2000 {
        let file = ["server.pem", "server.key", "clients.pem"][random.below(3)];
        let identity = match file {
            "server.pem" => pki.server.certificate.clone(),
            "server.key" => pki.server.key.clone(),
            _ => pki.clients.pem(),
        };
        let mut bytes = identity.clone().into_bytes();
        let place = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[place] ^= 1 << random.below(8),
            // Still base64: what is below it is damaged.
            1 => bytes[place] = b"ABCDwxyz0189+/"[random.below(14)],
            2 => bytes.truncate(place),
            _ => bytes = [&bytes[..place], &bytes[place / 2..]].concat(),
        }
        std::fs::write(pki.path(file), &bytes).unwrap();
        let tls = ServerTls::from_pem_files(pki.path("server.pem"), pki.path("server.key")).and_then(|tls| tls.client_ca(pki.path("clients.pem")));
        used += usize::from(tls.is_ok());
        std::fs::write(pki.path(file), identity).unwrap();
    }
    assert!(used < 1500, "the damage does not matter: {used}");
}
