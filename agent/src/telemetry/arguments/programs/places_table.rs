//! Arguments that are secrets by where they stand, by program.

use super::{
    Holds::{self, AfterColon, AfterEquals, AfterSlash, Secret, Unnamed},
    Place,
};

const fn place(
    programs: &'static str,
    after: &'static [&'static str],
    skip: usize,
    count: usize,
    holds: Holds,
) -> Place {
    Place {
        programs,
        after,
        skip,
        count,
        holds,
    }
}

const ALL: usize = usize::MAX;

const REDIS: &str = "redis-cli valkey-cli keydb-cli";

const ORACLE: &str = "sqlplus sqlldr exp imp expdp impdp rman sql sqlcl tkprof";

pub(super) const PLACES: &[Place] = &[
    place(REDIS, &["auth"], 0, 2, Secret),
    place(REDIS, &["requirepass", "masterauth"], 0, 1, Secret),
    place(
        "redis-server valkey-server",
        &["requirepass", "masterauth"],
        0,
        1,
        Secret,
    ),
    place(
        "rabbitmqctl",
        &["add_user", "change_password", "authenticate_user"],
        1,
        1,
        Secret,
    ),
    place("ejabberdctl prosodyctl", &["register"], 2, 1, Secret),
    place("vault bao", &["login", "unwrap", "unseal"], 0, 1, Unnamed),
    place(
        "vault bao",
        &["token lookup", "token revoke", "token renew"],
        0,
        1,
        Secret,
    ),
    place("vault bao", &["kv put", "kv patch"], 1, ALL, AfterEquals),
    place("wpa_passphrase", &[""], 1, 1, Secret),
    place("mysqladmin mariadb-admin", &["password"], 0, 1, Secret),
    place("isql iusql", &[""], 2, 1, Secret),
    place("cargo", &["login"], 0, 1, Secret),
    place("fly flyctl doppler", &["secrets set"], 0, ALL, AfterEquals),
    place("dotnet", &["user-secrets set"], 1, 1, Secret),
    place("pulumi", &["config set"], 1, 1, Secret),
    place("etcdctl", &["user add"], 0, 1, AfterColon),
    place("mkpasswd", &[""], 0, ALL, Secret),
    place("openssl", &["passwd"], 0, ALL, Secret),
    place("ansible-vault", &["encrypt_string"], 0, ALL, Secret),
    place("rclone", &["obscure"], 0, 1, Secret),
    place("ngrok", &["authtoken", "add-authtoken"], 0, 1, Secret),
    place("snyk", &["auth"], 0, 1, Secret),
    place("bw", &["unlock"], 0, 1, Secret),
    place("bw", &["login"], 1, 1, Secret),
    place("mc mcli", &["alias set", "host add"], 2, 2, Secret),
    place("db2", &["using"], 0, 1, Secret),
    place("xauth", &["add"], 2, 1, Secret),
    place(
        "nmcli",
        &[
            "password",
            "wifi-sec.psk",
            "802-11-wireless-security.psk",
            "802-1x.password",
        ],
        0,
        1,
        Secret,
    ),
    place("samba-tool", &["user create", "user add"], 1, 1, Secret),
    place("chamber", &["write"], 2, 1, Secret),
    place(ORACLE, &[""], 0, 1, AfterSlash),
    place(ORACLE, &["connect", "conn", "target"], 0, 1, AfterSlash),
    place("htpasswd mosquitto_passwd", &[""], 2, 0, Secret),
];
