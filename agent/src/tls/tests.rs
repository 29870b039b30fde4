//! What is wrong with files is said of each by name.

use super::testing::{Changing, expired, file, pair};
use super::*;
use crate::causes::chain;

fn client(ca: &str, own: Option<Pair>) -> ClientFiles {
    ClientFiles {
        ca: Some(file(ca)),
        own,
    }
}

#[test]
fn what_is_right_is_used() {
    let files = client("ours-ca.pem", Some(pair("ours")));
    files.check().unwrap();
    files.rustls().unwrap();
    files.tonic().unwrap();
    let files = ServerFiles {
        own: pair("ours"),
        client_ca: Some(file("others-ca.pem")),
    };
    files.check().unwrap();
    files.rustls().unwrap();
    files.tonic().unwrap();
    ClientFiles::default().check().unwrap();
}

/// What each use says of the same files.
fn complaints(files: &ServerFiles) -> [String; 4] {
    let client = ClientFiles {
        ca: files.client_ca.clone(),
        own: Some(files.own.clone()),
    };
    [
        chain(&files.check().unwrap_err()),
        chain(&files.rustls().unwrap_err()),
        chain(&files.tonic().unwrap_err()),
        chain(&client.rustls().unwrap_err()),
    ]
}

fn all_say(files: &ServerFiles, expected: &str) {
    for complaint in complaints(files) {
        assert!(complaint.contains(expected), "{complaint}: {expected}");
    }
}

#[test]
fn bad_files_are_named() {
    let good = pair("ours");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.pem");
    let with = |own: Pair| ServerFiles {
        own,
        client_ca: Some(file("ours-ca.pem")),
    };
    let cert = with(Pair {
        cert: path.clone(),
        ..good.clone()
    });
    let key = with(Pair {
        key: path.clone(),
        ..good.clone()
    });
    let authorities = ServerFiles {
        own: good,
        client_ca: Some(path.clone()),
    };
    for files in [&cert, &key, &authorities] {
        all_say(files, "cannot read");
        all_say(files, "bad.pem: No such file or directory");
    }
    for content in [
        "",
        "not PEM",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        std::fs::write(&path, content).unwrap();
        all_say(
            &authorities,
            "bad.pem holds no PEM certificates that can be used",
        );
        all_say(&cert, "bad.pem");
        all_say(&key, "bad.pem holds no PEM key that can be used");
    }
}

#[test]
fn a_key_of_another_certificate_is_noticed() {
    let files = ServerFiles {
        own: Pair {
            key: pair("others").key,
            ..pair("ours")
        },
        client_ca: None,
    };
    for complaint in [
        files.check(),
        files.rustls().map(drop),
        files.tonic().map(drop),
    ] {
        let complaint = chain(&complaint.unwrap_err());
        assert!(complaint.contains("ours-cert.pem and "), "{complaint}");
        assert!(
            complaint.contains("others-key.pem cannot be used together"),
            "{complaint}"
        );
    }
}

#[test]
fn a_certificate_whose_time_is_over_can_be_used_and_is_told_of() {
    let files = ServerFiles {
        own: expired(),
        client_ca: None,
    };
    files.rustls().unwrap();
    let complaint = chain(&files.check().unwrap_err());
    assert!(complaint.contains("ours-expired-cert.pem: "), "{complaint}");
    assert!(complaint.contains("certificate expired"), "{complaint}");
    let client = ClientFiles {
        ca: None,
        own: Some(expired()),
    };
    assert!(matches!(client.check(), Err(TlsError::Lapsed { .. })));
}

#[test]
fn all_that_are_named_are_listed() {
    let changing = Changing::of(&pair("ours"));
    let own = changing.pair();
    let files = ClientFiles {
        ca: Some(changing.path("ca.pem")),
        own: Some(own.clone()),
    };
    let expected = [changing.path("ca.pem"), own.cert.clone(), own.key.clone()];
    assert_eq!(files.paths(), expected);
    let files = ServerFiles {
        own: own.clone(),
        client_ca: Some(changing.path("ca.pem")),
    };
    assert_eq!(files.paths(), [own.cert, own.key, changing.path("ca.pem")]);
    assert_eq!(ClientFiles::default().paths(), Vec::<PathBuf>::new());
}
