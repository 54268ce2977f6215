//! An operator's place in the panel: a thread of its own and a bounded queue, so that a slow operator holds up nobody.

use super::{Operator, Question};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

/// Questions that may wait for one operator. Beyond, it is skipped: it is too slow to help.
const QUEUE_MAX: usize = 64;

type Task = Box<dyn FnOnce(&dyn Operator) + Send>;

pub(super) struct Seat {
    pub(super) operator: Arc<dyn Operator>,
    queue: SyncSender<Task>,
}

impl Seat {
    pub(super) fn new(operator: Arc<dyn Operator>) -> Self {
        let (queue, tasks) = sync_channel::<Task>(QUEUE_MAX);
        let member = operator.clone();
        // Ends when the panel, which holds the sender, is dropped.
        thread::spawn(move || tasks.iter().for_each(|task| task(&*member)));
        Self { operator, queue }
    }

    /// Has the operator do this when it gets to it, unless nobody waits for it by then. A panic of its engine is its own
    /// trouble: the panel hears nothing.
    pub(super) fn ask(&self, question: &Arc<Question>, work: impl FnOnce(&dyn Operator, &Question) + Send + 'static) {
        let question = question.clone();
        let task: Task = Box::new(move |operator| {
            if !question.is_cancelled() {
                let _ = catch_unwind(AssertUnwindSafe(|| work(operator, &question)));
            }
        });
        if self.queue.try_send(task).is_err() {
            tracing::debug!(operator = %self.operator.address(), "skipped: too many questions wait for it");
        }
    }
}
