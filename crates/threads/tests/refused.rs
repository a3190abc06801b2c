//! Where no thread can be started, the calling thread does all of the work.

use std::thread;

use erofs_testkit::refuse;
use erofs_testkit::require::need;
use erofs_threads::{Tasks, beside, each, in_order, until_done, workers};

#[test]
fn the_calling_thread_works_alone_where_no_other_can_be_started() {
    let work = || {
        let here = thread::current().id();
        assert_eq!(workers("test", 8, || thread::current().id()), [here]);
        assert_eq!(
            beside("test", 8, || unreachable!("nobody helps"), |others| others),
            (0, Vec::<()>::new())
        );
        let things: Vec<u32> = (0..100).collect();
        assert_eq!(each("test", 8, &things, |&thing, (): &mut ()| Ok::<_, ()>(thing)).unwrap(), things);
        let mut got = Vec::new();
        let take = |number, thing| {
            got.push((number, thing));
            Ok::<_, ()>(())
        };
        in_order("test", 8, &things, |&thing, (): &mut ()| thing * 2, take).unwrap();
        assert_eq!(got, things.iter().map(|&thing| (thing as usize, thing * 2)).collect::<Vec<_>>());
        let done = std::sync::atomic::AtomicU32::new(0);
        until_done("test", 8, 1_u32, |number, tasks: &Tasks<u32>| {
            done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if number < 50 {
                tasks.add(2 * number);
                tasks.add(2 * number + 1);
            }
        });
        assert_eq!(done.into_inner(), 99);
    };
    need("work without threads", refuse::threads(work));
}
