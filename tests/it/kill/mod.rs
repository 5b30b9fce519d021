//! The parts of the kill table that can be tested by themselves: its own target has no test harness, and a judge who never finds anything
//! proves nothing.

#[path = "../../kill/feed.rs"]
mod feed;
#[path = "../../kill/findings.rs"]
mod findings;
#[path = "../../kill/judge.rs"]
mod judge;
mod judge_tests;
#[path = "../../kill/life.rs"]
mod life;
#[path = "../../kill/linger.rs"]
mod linger;
#[path = "../../kill/log.rs"]
mod log;
#[path = "../../kill/model.rs"]
mod model;
#[path = "../../kill/notes.rs"]
mod notes;
#[path = "../../kill/onlooker.rs"]
mod onlooker;
#[path = "../../kill/scene.rs"]
mod scene;
#[path = "../../kill/victim.rs"]
mod victim;
