//! Secrets that are known by their own look, wherever they stand.

use super::marks::Marks;
use super::values::is_word;

/// Where a token that begins in a certain way ends.
#[derive(Clone, Copy)]
enum Rest {
    /// At least so many letters, digits, `-` and `_`.
    Plain(usize),
    /// So many, a digit among them: the beginning alone is also a word.
    Mixed(usize),
    /// So many, with dots.
    Dotted(usize),
    /// So many capitals and digits, and nothing else.
    Capitals(usize),
    /// So many hexadecimal digits, and nothing else.
    Hexadecimal(usize),
}

/// How tokens begin, by who gives them out.
const TOKENS: &[(&str, Rest)] = &[
    // AWS, Alibaba, Tencent
    ("AKIA", Rest::Capitals(12)),
    ("ASIA", Rest::Capitals(12)),
    ("LTAI", Rest::Mixed(12)),
    ("AKID", Rest::Mixed(28)),
    // GitHub, GitLab, Atlassian
    ("ghp_", Rest::Plain(3)),
    ("gho_", Rest::Plain(3)),
    ("ghu_", Rest::Plain(3)),
    ("ghs_", Rest::Plain(3)),
    ("ghr_", Rest::Plain(3)),
    ("github_pat_", Rest::Plain(3)),
    ("glpat-", Rest::Dotted(3)),
    ("gldt-", Rest::Dotted(8)),
    ("glrt-", Rest::Dotted(8)),
    ("glptt-", Rest::Dotted(8)),
    ("glcbt-", Rest::Dotted(8)),
    ("glagent-", Rest::Dotted(8)),
    ("ATATT3", Rest::Plain(16)),
    ("ATCTT3", Rest::Plain(16)),
    ("ATBB", Rest::Mixed(20)),
    ("glsoat-", Rest::Dotted(8)),
    ("glft-", Rest::Dotted(8)),
    // Slack
    ("xoxa-", Rest::Plain(3)),
    ("xoxb-", Rest::Plain(3)),
    ("xoxc-", Rest::Plain(3)),
    ("xoxd-", Rest::Plain(3)),
    ("xoxe-", Rest::Plain(3)),
    ("xoxo-", Rest::Plain(3)),
    ("xoxp-", Rest::Plain(3)),
    ("xoxr-", Rest::Plain(3)),
    ("xoxs-", Rest::Plain(3)),
    ("xoxe.", Rest::Dotted(8)),
    ("xapp-", Rest::Plain(8)),
    // Google
    ("AIza", Rest::Plain(12)),
    ("ya29.", Rest::Dotted(8)),
    ("GOCSPX-", Rest::Plain(8)),
    // OpenAI, Anthropic and others of their kind
    ("sk-ant-", Rest::Plain(3)),
    ("sk-proj-", Rest::Mixed(8)),
    ("sk-or-", Rest::Mixed(8)),
    ("sk-", Rest::Mixed(16)),
    ("gsk_", Rest::Mixed(16)),
    ("hf_", Rest::Plain(20)),
    ("r8_", Rest::Mixed(16)),
    ("xai-", Rest::Mixed(16)),
    // Stripe, Square, Shopify
    ("sk_live_", Rest::Plain(3)),
    ("sk_test_", Rest::Plain(3)),
    ("rk_live_", Rest::Plain(3)),
    ("rk_test_", Rest::Plain(3)),
    ("whsec_", Rest::Plain(3)),
    ("sq0atp-", Rest::Plain(3)),
    ("sq0csp-", Rest::Plain(3)),
    ("shpat_", Rest::Plain(3)),
    ("shpss_", Rest::Plain(3)),
    ("shpca_", Rest::Plain(3)),
    // Registries of packages and images
    ("npm_", Rest::Mixed(20)),
    ("pypi-AgE", Rest::Plain(16)),
    ("dckr_pat_", Rest::Plain(3)),
    ("dckr_oat_", Rest::Plain(3)),
    ("AKCp8", Rest::Mixed(16)),
    ("rubygems_", Rest::Mixed(16)),
    // Vault, Grafana, Sentry, New Relic, Tailscale, DigitalOcean, SendGrid, Mailgun, Databricks, Pulumi, Doppler, age
    ("hvs.", Rest::Dotted(3)),
    ("hvb.", Rest::Dotted(3)),
    ("hvr.", Rest::Dotted(3)),
    ("glsa_", Rest::Plain(8)),
    ("glc_", Rest::Plain(16)),
    ("sntrys_", Rest::Dotted(8)),
    ("sntryu_", Rest::Plain(8)),
    ("NRAK-", Rest::Plain(8)),
    ("tskey-", Rest::Plain(8)),
    ("dop_v1_", Rest::Plain(8)),
    ("SG.", Rest::Dotted(20)),
    ("key-", Rest::Hexadecimal(32)),
    ("dapi", Rest::Hexadecimal(32)),
    ("pul-", Rest::Hexadecimal(40)),
    ("dp.st.", Rest::Dotted(8)),
    ("dp.pt.", Rest::Dotted(8)),
    ("AGE-SECRET-KEY-", Rest::Plain(8)),
    ("PMAK-", Rest::Plain(8)),
    ("lin_api_", Rest::Plain(8)),
    // SonarQube, Dynatrace, Brevo, Figma, Notion, Supabase, PlanetScale, Netlify, Heroku, LangSmith
    ("sqp_", Rest::Mixed(20)),
    ("squ_", Rest::Mixed(20)),
    ("sqa_", Rest::Mixed(20)),
    ("dt0c01.", Rest::Dotted(16)),
    ("xkeysib-", Rest::Mixed(16)),
    ("figd_", Rest::Plain(16)),
    ("ntn_", Rest::Mixed(16)),
    ("sbp_", Rest::Mixed(20)),
    ("pscale_pw_", Rest::Plain(8)),
    ("pscale_tkn_", Rest::Plain(8)),
    ("nfp_", Rest::Mixed(20)),
    ("HRKU-", Rest::Plain(16)),
    ("lsv2_pt_", Rest::Plain(8)),
];

/// Which bytes a token may begin with.
const FIRST: [bool; 256] = {
    let mut first = [false; 256];
    let mut at = 0;
    while at < TOKENS.len() {
        first[TOKENS[at].0.as_bytes()[0] as usize] = true;
        at += 1;
    }
    first
};

/// Addresses whose path is all it takes to post there.
const HOOKS: &[&str] = &[
    "hooks.slack.com/services/",
    "hooks.slack.com/workflows/",
    "hooks.slack-gov.com/services/",
    "discord.com/api/v10/webhooks/",
    "outlook.office.com/webhook/",
    "hooks.zapier.com/hooks/",
    "open.feishu.cn/open-apis/bot/v2/hook/",
    "events.pagerduty.com/integration/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
    "webhook.office.com/webhookb2/",
    "rtmp.youtube.com/live2/",
    "live.twitch.tv/app/",
];

/// How hashes of passwords begin, as crypt(3) and others write them. Where `$` has to be doubled, so is each here.
const HASHES: &[&str] = &[
    "1$", "2a$", "2b$", "2y$", "5$", "6$", "7$", "y$", "gy$", "apr1$", "argon2", "scrypt$",
    "pbkdf2",
];

const LONGEST_HASH: usize = 256;

/// So much is looked at to tell whether something is a token.
const LOOKED_AT: usize = 64;

/// Hides tokens, private keys and hashes of passwords.
pub(super) fn mark(marks: &mut Marks<'_>) {
    let text = marks.text();
    private_keys(text, marks);
    hooks(text, marks);
    let bytes = text.as_bytes();
    // Where the token characters from here on end, without and with dots: found once for each run of them.
    let mut ends = Ends::default();
    let mut at = 0;
    let mut hidden = 0;
    while at < bytes.len() {
        let begins = at == hidden || !is_word(bytes[at - 1]) || bytes[..at].ends_with(b"/bot");
        let found = if !begins {
            None
        } else if bytes[at] == b'$' {
            hash(text, at)
        } else if bytes[at].is_ascii_alphanumeric() {
            ends.look(bytes, at);
            token(text, at, ends)
        } else {
            None
        };
        match found {
            Some(end) => {
                marks.hide(at..end);
                at = end;
                hidden = end;
            }
            None => at += 1,
        }
    }
}

/// Whether a text begins as a token does, whatever follows.
pub(super) fn begins_token(text: &str) -> bool {
    TOKENS.iter().any(|(start, _)| text.starts_with(start))
}

#[derive(Clone, Copy, Default)]
struct Ends {
    plain: usize,
    dotted: usize,
}

impl Ends {
    fn look(&mut self, bytes: &[u8], at: usize) {
        let run = |dots: bool| {
            let more = |byte: u8| is_word(byte) || byte == b'-' || dots && byte == b'.';
            let mut end = at;
            // Five dashes begin and end other things.
            while end < bytes.len() && more(bytes[end]) && !bytes[end..].starts_with(b"-----") {
                end += 1;
            }
            end
        };
        if at >= self.plain {
            self.plain = run(false);
        }
        if at >= self.dotted {
            self.dotted = run(true);
        }
    }
}

/// The end of the token that begins here.
fn token(text: &str, at: usize, ends: Ends) -> Option<usize> {
    let rest = &text[at..];
    if rest.starts_with("eyJ") {
        return web_token(text, at, ends);
    }
    if rest.as_bytes()[0].is_ascii_digit() {
        return bot_token(rest).map(|length| at + length);
    }
    let first = rest.as_bytes()[0];
    if !FIRST[usize::from(first)] {
        return None;
    }
    let (start, kind) = TOKENS
        .iter()
        .find(|(start, _)| start.as_bytes()[0] == first && rest.starts_with(start))?;
    let from = at + start.len();
    let (end, least) = match *kind {
        Rest::Plain(least) | Rest::Mixed(least) => (ends.plain, least),
        Rest::Dotted(least) => (ends.dotted, least),
        Rest::Capitals(least) => {
            let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
            return exact(text, from, ends.plain, least, fits);
        }
        Rest::Hexadecimal(least) => {
            return exact(text, from, ends.plain, least, |byte| {
                byte.is_ascii_hexdigit()
            });
        }
    };
    let body = text.as_bytes().get(from..end)?;
    let looked_at = &body[..body.len().min(LOOKED_AT)];
    let mixed = !matches!(kind, Rest::Mixed(_)) || looked_at.iter().any(u8::is_ascii_digit);
    (body.len() >= least && mixed).then_some(end)
}

fn exact(
    text: &str,
    from: usize,
    end: usize,
    least: usize,
    fits: impl Fn(u8) -> bool,
) -> Option<usize> {
    let body = text.as_bytes().get(from..end)?;
    let looked_at = &body[..body.len().min(LOOKED_AT)];
    (body.len() >= least && looked_at.iter().all(|byte| fits(*byte))).then_some(end)
}

/// `eyJ….eyJ….…`: a JSON Web Token, or its beginning. `{"` is written `eyJ`.
fn web_token(text: &str, at: usize, ends: Ends) -> Option<usize> {
    let head = ends.plain - at;
    let after = text[ends.plain..ends.dotted].strip_prefix('.')?;
    // What it says of itself comes first, then what it says; encrypted ones go on at once.
    let signed = after.starts_with("eyJ") || "eyJ".starts_with(after);
    let encrypted = head >= 16 && after.len() >= 16;
    (head >= 6 && (signed || encrypted)).then_some(ends.dotted)
}

/// `123456789:AA…`: a bot's, of Telegram.
fn bot_token(rest: &str) -> Option<usize> {
    let digits = rest.bytes().take(12).take_while(u8::is_ascii_digit).count();
    let secret = rest[digits..].strip_prefix(":AA")?;
    let length = secret
        .bytes()
        .take(LOOKED_AT)
        .take_while(|byte| is_word(*byte) || *byte == b'-')
        .count();
    (digits >= 8 && length >= 30).then_some(digits + ":AA".len() + length)
}

/// `$6$salt$hash`, `$$2y$$10$$…`: up to white space, a quote or a comma that begins something else.
fn hash(text: &str, at: usize) -> Option<usize> {
    let rest = text[at..].trim_start_matches('$');
    let dollars = text.len() - at - rest.len();
    if dollars > 2 || !HASHES.iter().any(|start| rest.starts_with(start)) {
        return None;
    }
    let bytes = &rest.as_bytes()[..rest.len().min(LONGEST_HASH)];
    let fits = |at: usize| match bytes[at] {
        // `$m=65536,t=3,p=4$`
        b',' => bytes.get(at + 2) == Some(&b'='),
        byte => is_word(byte) || b"$./+=-".contains(&byte),
    };
    let length = (0..bytes.len()).take_while(|at| fits(*at)).count();
    let length = rest[..length].find("-----").unwrap_or(length);
    (length >= 20 && rest[..length].contains('$')).then_some(at + dollars + length)
}

/// Everything between the lines that begin and end a private key, or up to the end of what was kept.
fn private_keys(text: &str, marks: &mut Marks<'_>) {
    const BEGIN: &str = "-----BEGIN ";
    if !text.contains('-') {
        return;
    }
    let mut at = 0;
    while let Some(begin) = text[at..].find(BEGIN) {
        let label = at + begin + BEGIN.len();
        let Some(length) = text[label..].find("-----") else {
            return;
        };
        let body = label + length + "-----".len();
        if !text[label..label + length].contains("PRIVATE KEY") {
            at = label + length;
            continue;
        }
        let end = text[body..]
            .find("-----END")
            .map_or(text.len(), |length| body + length);
        marks.hide(body..end);
        at = end;
    }
}

fn hooks(text: &str, marks: &mut Marks<'_>) {
    if !text.contains('/') {
        return;
    }
    for start in HOOKS {
        let mut at = 0;
        while let Some(found) = text[at..].find(start) {
            let path = at + found + start.len();
            let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\' | '`');
            let end = text[path..]
                .find(ends)
                .map_or(text.len(), |length| path + length);
            marks.hide(path..end);
            at = end;
        }
    }
}
