//! Flags that hold secrets, by program: where its manual says so.

use super::{
    Flag,
    Holds::{
        self, AfterColon, AfterComma, AfterEquals, AfterPercent, BeforeAt, Cookies, Nothing,
        PassPhrase, Secret,
    },
    Program,
    Takes::{self, Either, Here, Next},
};

const fn flag(name: &'static str, takes: Takes, holds: Holds) -> Flag {
    after("", name, takes, holds)
}

const fn after(after: &'static str, name: &'static str, takes: Takes, holds: Holds) -> Flag {
    Flag {
        name,
        takes,
        holds,
        after,
    }
}

const fn program(names: &'static str, switches: &'static str, flags: &'static [Flag]) -> Program {
    Program {
        names,
        switches,
        flags,
    }
}

const MYSQL: &str = "\
    mysql mariadb mysqldump mariadb-dump mysqladmin mariadb-admin mysqlimport mariadb-import \
    mysqlshow mariadb-show mysqlcheck mariadb-check mysqlslap mariadb-slap mysqlbinlog \
    mariadb-binlog mysql_upgrade mariadb-upgrade mysqlpump mysqlsh mysqltest mysqld_multi \
    xtrabackup mariabackup mariadb-backup innobackupex mysqlhotcopy mysql_config_editor \
    mytop";

const SNMP: &str = "\
    snmpget snmpgetnext snmpwalk snmpbulkwalk snmpbulkget snmpset snmptrap snmpinform \
    snmptable snmpdf snmpstatus snmpnetstat snmptest snmpusm";

/// Commands with a `login` or the like, which takes `-p`.
const REGISTRIES: &str = "\
    nerdctl buildah skopeo crane oras helm az oc cf regctl img wrangler rancher faas-cli";

pub(super) const PROGRAMS: &[Program] = &[
    program(MYSQL, "ABEGHNXbfijnoqrstvw", &[flag("-p", Here, Secret)]),
    program(
        "mydumper myloader mycli pt-query-digest pt-table-checksum",
        "",
        &[flag("-p", Either, Secret)],
    ),
    program("sshpass", "ehvV", &[flag("-p", Either, Secret)]),
    program(
        "curl curlie",
        "#012346aBfgGiIjJklLMnNOpqRsSvVZ:",
        &[
            flag("-u", Either, AfterColon),
            flag("--user", Either, AfterColon),
            flag("-U", Either, AfterColon),
            flag("--proxy-user", Either, AfterColon),
            flag("-E", Either, AfterColon),
            flag("--cert", Either, AfterColon),
            flag("--proxy-cert", Either, AfterColon),
            flag("-b", Either, Cookies),
            flag("--cookie", Either, Cookies),
            flag("-x", Either, BeforeAt),
            flag("--proxy", Either, BeforeAt),
            flag("--preproxy", Either, BeforeAt),
            flag("--oauth2-bearer", Either, Secret),
        ],
    ),
    program(
        "http https xh xhs",
        "",
        &[
            flag("-a", Either, AfterColon),
            flag("--auth", Either, AfterColon),
        ],
    ),
    program(
        "ab hey",
        "",
        &[
            flag("-A", Either, AfterColon),
            flag("-P", Either, AfterColon),
            flag("-C", Either, AfterEquals),
        ],
    ),
    program(
        "redis-cli valkey-cli keydb-cli redis-benchmark valkey-benchmark",
        "",
        &[flag("-a", Either, Secret)],
    ),
    program(
        "\
    psql pg_dump pg_dumpall pg_restore pg_basebackup createdb dropdb createuser dropuser \
    vacuumdb reindexdb clusterdb pgbench pg_isready pg_receivewal pg_recvlogical pg_rewind",
        "",
        // It asks for a password.
        &[flag("--password", Here, Secret)],
    ),
    program(
        "openssl",
        "",
        &[
            flag("-pass", Next, PassPhrase),
            flag("-passin", Next, PassPhrase),
            flag("-passout", Next, PassPhrase),
            flag("-password", Next, PassPhrase),
            flag("-srppass", Next, Secret),
            flag("-psk", Next, Secret),
            flag("-K", Next, Secret),
            // `enc` is also called by the cipher's name, `dgst` by the hash's.
            flag("-k", Next, Secret),
            flag("-hmac", Next, Secret),
        ],
    ),
    program(
        "\
    ldapsearch ldapadd ldapmodify ldapdelete ldapmodrdn ldapcompare ldapwhoami ldapexop \
    ldapvc",
        "",
        &[flag("-w", Either, Secret)],
    ),
    program(
        "ldappasswd",
        "",
        &[
            flag("-w", Either, Secret),
            flag("-s", Either, Secret),
            flag("-a", Either, Secret),
        ],
    ),
    program(
        "\
    smbclient smbget rpcclient net smbcacls smbcquotas smbtree smbspool nmblookup winexe \
    samba-tool wmic",
        "NEkPL",
        &[
            flag("-U", Either, AfterPercent),
            flag("--user", Either, AfterPercent),
        ],
    ),
    program(
        "wbinfo",
        "",
        &[
            flag("-a", Either, AfterPercent),
            flag("-K", Either, AfterPercent),
            flag("--authenticate", Either, AfterPercent),
            flag("--krb5auth", Either, AfterPercent),
        ],
    ),
    program(
        "docker podman",
        "",
        &[
            after("login", "-p", Either, Secret),
            // The name of a secret, and how it is mounted.
            flag("--secret", Either, Nothing),
            flag("--secret-add", Either, Nothing),
            flag("--secret-rm", Either, Nothing),
        ],
    ),
    program(
        REGISTRIES,
        "",
        &[
            after("login", "-p", Either, Secret),
            // oc, and az
            after("secret", "--from-literal", Either, AfterEquals),
            after("secret", "--value", Either, Secret),
        ],
    ),
    program("gcloud buildctl", "", &[flag("--secret", Either, Nothing)]),
    program(
        "kubectl kubeadm",
        "",
        &[after("secret", "--from-literal", Either, AfterEquals)],
    ),
    program("twine", "", &[flag("-p", Either, Secret)]),
    program("poetry", "", &[after("publish", "-p", Either, Secret)]),
    program("dotnet", "", &[after("push", "-k", Either, Secret)]),
    program("slappasswd", "", &[flag("-s", Either, Secret)]),
    program(
        "softhsm2-util pkcs11-tool pkcs15-tool yubico-piv-tool ykman",
        "",
        &[
            flag("--pin", Either, Secret),
            flag("--so-pin", Either, Secret),
            flag("--new-pin", Either, Secret),
        ],
    ),
    program("pulumi", "", &[flag("--secret", Here, Nothing)]),
    program(
        "openvpn",
        "",
        &[
            // Files, or nothing.
            flag("--auth-user-pass", Either, Nothing),
            flag("--askpass", Either, Nothing),
        ],
    ),
    program(
        "gitlab-runner",
        "",
        &[
            after("register", "-r", Either, Secret),
            after("register", "-t", Either, Secret),
        ],
    ),
    program("consul nomad serf", "", &[flag("-encrypt", Either, Secret)]),
    program(
        "aws",
        "",
        &[
            after("put-parameter", "--value", Either, Secret),
            flag("--secret-id", Either, Nothing),
        ],
    ),
    program(
        "gh",
        "",
        &[
            after("secret", "-b", Either, Secret),
            after("secret", "--body", Either, Secret),
        ],
    ),
    program("doctl", "", &[flag("-t", Either, Secret)]),
    program(
        "\
    mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop \
    mongofiles",
        "",
        &[flag("-p", Either, Secret)],
    ),
    program(
        "sqlcmd bcp osql isql tsql defncopy fisql",
        "",
        &[flag("-P", Either, Secret), flag("-Z", Either, Secret)],
    ),
    program(
        "\
    cqlsh beeline hdbsql nodetool rabbitmqadmin snowsql influx vsql trino ksql cypher-shell \
    neo4j-admin",
        "",
        &[flag("-pw", Next, Secret), flag("-p", Either, Secret)],
    ),
    program(
        "mosquitto_pub mosquitto_sub mosquitto_rr",
        "",
        &[flag("-P", Either, Secret), flag("--pw", Either, Secret)],
    ),
    program("etcdctl", "", &[flag("--user", Either, AfterColon)]),
    program(
        "lftp",
        "",
        &[
            flag("-u", Either, AfterComma),
            flag("--user", Either, AfterComma),
        ],
    ),
    program(
        "ncftpget ncftpput ncftpls rdesktop veracrypt ipa-client-install",
        "",
        &[flag("-p", Either, Secret)],
    ),
    program("7z 7za 7zr 7zz 7zzs", "", &[flag("-p", Here, Secret)]),
    program(
        "rar unrar",
        "",
        &[flag("-p", Here, Secret), flag("-hp", Here, Secret)],
    ),
    program(
        "zip unzip zipcloak funzip",
        "",
        &[flag("-P", Either, Secret)],
    ),
    program(
        "useradd usermod groupadd groupmod",
        "moMrUNDl",
        &[flag("-p", Either, Secret)],
    ),
    program(
        SNMP,
        "",
        &[
            flag("-A", Either, Secret),
            flag("-X", Either, Secret),
            flag("-c", Either, Secret),
            flag("-3m", Next, Secret),
            flag("-3M", Next, Secret),
            flag("-3k", Next, Secret),
            flag("-3K", Next, Secret),
        ],
    ),
    program(
        "ipmitool ipmipower ipmi-sensors bmc-info",
        "v",
        &[
            flag("-P", Either, Secret),
            flag("-K", Either, Secret),
            flag("-k", Either, Secret),
            flag("-y", Either, Secret),
        ],
    ),
    program(
        "xfreerdp wlfreerdp xfreerdp3 sdl-freerdp",
        "",
        &[
            flag("/p:", Here, Secret),
            flag("/pth:", Here, Secret),
            flag("/gp:", Here, Secret),
        ],
    ),
    program(
        "plink pscp psftp putty kadmin kadmin.local",
        "",
        &[flag("-pw", Next, Secret), flag("-w", Either, Secret)],
    ),
    program(
        "ssh-keygen",
        "qvl",
        &[flag("-N", Either, Secret), flag("-P", Either, Secret)],
    ),
    program(
        "keytool jarsigner apksigner",
        "",
        &[
            flag("--ks-pass", Next, PassPhrase),
            flag("--key-pass", Next, PassPhrase),
            flag("-new", Next, Secret),
        ],
    ),
    program(
        "swaks",
        "",
        &[flag("-ap", Next, Secret), flag("-au", Next, Nothing)],
    ),
    program("sendemail sendEmail", "", &[flag("-xp", Next, Secret)]),
    program(
        "pkcs11-tool pkcs15-tool pkcs15-init pkcs15-crypt",
        "",
        &[
            flag("-p", Either, Secret),
            flag("--pin", Either, Secret),
            flag("--so-pin", Either, Secret),
            flag("--new-pin", Either, Secret),
            flag("--puk", Either, Secret),
        ],
    ),
    program(
        "evil-winrm dsconf dsctl",
        "",
        &[flag("-p", Either, Secret), flag("-w", Either, Secret)],
    ),
    program(
        "erl iex elixir beam.smp erlexec",
        "",
        &[
            flag("-setcookie", Next, Secret),
            flag("--cookie", Next, Secret),
        ],
    ),
];
