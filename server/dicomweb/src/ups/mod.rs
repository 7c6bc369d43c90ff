//! UPS-RS, the worklist service: one module a transaction, over the worklist room.
//!
//! <https://dicom.nema.org/medical/dicom/current/output/html/part18.html#chapter_11>

mod body;
mod cancel;
mod create;
pub mod description;
mod events;
mod path;
mod retrieve;
mod search;
mod state;
mod subscribe;
mod update;

use crate::resource::Resource;

const WORKITEM: &str = "/workitems/{workitem}";

/// The resources of PS3.18 Table 11.2-1, and that of the notification connection (section 8.10.4).
pub fn resources() -> [Resource; 7] {
    [
        Resource::at("/workitems")
            .get(search::search, description::search("SearchForWorkitems"))
            .post(create::create, description::create("CreateWorkitem")),
        Resource::at(WORKITEM)
            .get(retrieve::retrieve, description::retrieve("RetrieveWorkitem"))
            .post(update::update, description::update("UpdateWorkitem")),
        Resource::at(format!("{WORKITEM}/state"))
            .put(state::change, description::state("ChangeWorkitemState")),
        Resource::at(format!("{WORKITEM}/cancelrequest"))
            .post(cancel::request, description::cancel("RequestCancellation")),
        Resource::at(format!("{WORKITEM}/subscribers/{{aetitle}}"))
            .post(subscribe::subscribe, description::subscribe("Subscribe"))
            .delete(subscribe::unsubscribe, description::unsubscribe("Unsubscribe")),
        Resource::at(format!("{WORKITEM}/subscribers/{{aetitle}}/suspend"))
            .post(subscribe::suspend, description::suspend("SuspendSubscription")),
        Resource::at("/subscribers/{aetitle}")
            .get(events::connect, description::events("OpenNotificationConnection")),
    ]
}

/// A warning (RFC 7234 5.5) with one of the texts that PS3.18 section 11 names.
pub(crate) fn warning(text: &str) -> String {
    format!("299 engram \"{text}\"")
}
