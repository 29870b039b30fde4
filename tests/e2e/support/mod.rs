//! What all tests need: agents, what they are asked, and work for them to see.

mod agent;
mod cgroup;
mod command;
mod exposition;
mod http;
mod mount;
mod pins;
mod requirements;
mod wait;
mod work;

pub(crate) use self::agent::{Agent, AgentBuilder, ROOM};
pub(crate) use self::cgroup::Container;
pub(crate) use self::command::{Finished, finish, kill, wellhead, wrapped};
pub(crate) use self::exposition::{Format, Page, judged, linted, refused_syntax};
pub(crate) use self::http::{request, send};
pub(crate) use self::mount::Mount;
pub(crate) use self::pins::Pins;
pub(crate) use self::requirements::{Need, ready};
pub(crate) use self::wait::{eventually, until};
pub(crate) use self::work::{Connected, Program, Programs, Served, exchange, refused};
pub(crate) use wellhead_tests::receiver::{OtlpPoint, Receiver, attribute, text};
