//! Weir with a feature switched on, to see what that costs beside Weir without it. These take part if they are named.

use anyhow::Context;

use super::{Program, Stanza, redis, weir};

const FEATURE: Stanza = Stanza {
    // Nothing else can be told by event.
    workloads: Some(&["paced", "saturation", "saturation16"]),
    by_default: false,
    is_weir: true,
    ..weir::STANZA
};

/// Each stream in another dialect.
pub(super) const REPLY: Stanza = Stanza {
    name: "reply",
    command: |place| weir::start(place, "defaults: {reply: {as: ai-sdk}}\n"),
    ..FEATURE
};

/// Events are looked into for what clients may not see.
pub(super) const HIDE: Stanza = Stanza {
    name: "hide",
    command: |place| weir::start(place, "defaults: {hide: {reasoning: drop, tools: drop}}\n"),
    ..FEATURE
};

/// Streams that can be resumed, with their journals in memory.
pub(super) const RESUME_MEMORY: Stanza = Stanza {
    name: "resume-memory",
    command: |place| weir::start(place, "defaults: {resume: {}}\n"),
    ..FEATURE
};

/// Streams that can be resumed, with their journals in Redis.
pub(super) const RESUME_REDIS: Stanza = Stanza {
    name: "resume-redis",
    program: |options| match redis::program() {
        Some(_) => Program::At(options.weir.clone()),
        // `tests/run real` unpacks it.
        None => Program::At("redis-server of .cache/redis".into()),
    },
    redis: true,
    command: |place| {
        let redis = place.redis.context("redis-server has no address")?;
        weir::start(
            place,
            &format!(
                "resume: {{store: redis, redis: {{url: \"redis://{redis}\"}}}}\ndefaults: {{resume: {{}}}}\n"
            ),
        )
    },
    ..FEATURE
};

/// Two agents in one stream, of which one is silent, so that the client gets as many events as with Weir alone.
pub(super) const MERGE: Stanza = Stanza {
    name: "merge",
    command: |place| {
        weir::start(
            place,
            "defaults: {reply: {as: openai-chat}}
routes:
  - name: team
    merge:
      agents:
        - {name: speaks, upstream: model}
        - {name: silent, upstream: model, path: \"/v1/chat/completions?hold=2\"}
      finish: any
",
        )
    },
    ..FEATURE
};
