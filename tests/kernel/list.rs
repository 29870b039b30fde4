//! All tests and workloads of the kernel tests by name.

use anyhow::Result;
use wellhead_tests::workload::Workload;

use crate::{
    bulk, classic, collisions, connections, conntrack, containers, crowds, delays, dns, endings,
    executions, failures, hanging, heartbeat, invariants, ladder, left_out, live, lost_ends,
    lost_handshakes, lost_opens, many_live, missed_ends, missed_none, nested, oom, passive,
    pid_namespaces, pods, processes, program_stats, recorded, resized, resolver, restart, services,
    sock_diag, socket_owner, spill, storm, tcp_closes, tcp_health, tcp_odd, tcp_script, udp, usage,
    zoo,
};

/// What the test program does when it is asked to be a workload.
pub(crate) const WORKLOADS: &[(&str, Workload)] = &[
    ("processes", processes::many),
    ("endings", endings::all),
    ("executions", executions::all),
    ("zoo", zoo::all),
    ("act", zoo::act),
    ("tcp_close", tcp_script::run),
    ("tcp_odd", tcp_odd::all),
    ("connections", connections::many),
    ("failures", failures::all),
    ("attempt_and_wait", failures::attempt_and_wait),
    ("socket_owner", socket_owner::hand_over),
    ("sleep", pods::sleep),
    ("become", containers::become_program),
    ("storm", storm::spawn),
    ("use_much", usage::use_much),
    ("burn", usage::burn),
    ("outlive_first", usage::outlive_first),
    ("open_and_wait", lost_opens::open_and_wait),
    ("close_at_once", lost_ends::close_at_once),
    ("powerless", ladder::powerless),
    ("eat_memory", oom::eat_memory),
    ("all_states", sock_diag::all_states),
    ("many_connections", sock_diag::many_connections),
    ("many_namespaces", sock_diag::many_namespaces),
    ("count_without", sock_diag::count_without),
    ("fork", program_stats::fork),
    ("of_every_age", invariants::of_every_age),
    ("beyond_room", invariants::beyond_room),
    ("end_unseen", missed_ends::end_unseen),
    ("in_full_view", missed_ends::in_full_view),
    ("leave_unseen", missed_ends::leave_unseen),
    ("crowd", missed_none::crowd),
    ("hold", many_live::hold),
    ("look_around", pid_namespaces::look_around),
    ("classic_lives", classic::lives),
    ("classic_attempts", classic::attempts),
    ("long_lived", live::long_lived),
    ("churn", resized::churn),
    ("resets", nested::resets),
    ("flood", spill::flood),
    ("services", services::run),
    ("untracked", conntrack::untracked),
    ("conntrack_without", conntrack::conntrack_without),
    ("lossy", tcp_health::lossy),
    ("resets_both_ways", tcp_health::resets_both_ways),
    ("full_queue", tcp_health::full_queue),
    ("held_up", tcp_health::held_up),
    ("lost_handshakes", lost_handshakes::attempts),
    ("unheard", lost_handshakes::unheard),
    ("transfer", bulk::transfer),
    ("hang", hanging::hang),
    ("far_away", delays::far_away),
    ("far_and_lossy", delays::far_and_lossy),
    ("many_peers", udp::many_peers),
    ("odd_packets", udp::odd_packets),
    ("datagrams", udp::datagrams),
    ("overflow", udp::overflow),
    ("look_ups", dns::look_ups),
    ("ask_unbound", resolver::ask),
    ("agent", restart::agent),
    ("load", restart::load),
];

/// A test.
pub(crate) type Test = fn() -> Result<()>;

/// All tests, in the order they run.
pub(crate) const TESTS: &[(&str, Test)] = &[
    ("processes_are_counted", processes::are_counted),
    ("endings_are_as_wait_tells", endings::are_as_wait_tells),
    (
        "executions_are_told_as_called",
        executions::are_told_as_called,
    ),
    ("zoo_is_told_exactly", zoo::is_told_exactly),
    ("zoo_knows_elders", zoo::knows_elders),
    ("tcp_close_from_client", || tcp_closes::check("client")),
    ("tcp_close_from_server", || tcp_closes::check("server")),
    ("tcp_close_simultaneous", || {
        tcp_closes::check("simultaneous")
    }),
    ("tcp_close_orphaned", || tcp_closes::check("orphaned")),
    ("tcp_close_linger_0", || tcp_closes::check("linger_0")),
    ("tcp_close_unread_data", || tcp_closes::check("unread_data")),
    ("tcp_close_server_killed", || {
        tcp_closes::check("server_killed")
    }),
    ("tcp_close_half", || tcp_closes::check("half")),
    ("tcp_close_after_megabytes", || {
        tcp_closes::check("megabytes")
    }),
    ("tcp_close_after_loss", || tcp_closes::check("loss")),
    ("tcp_odd_lives_are_told_once", tcp_odd::lives_are_told_once),
    (
        "tcp_odd_begun_before_the_programs",
        tcp_odd::begun_before_the_programs,
    ),
    ("connections_over_ipv4", || connections::are_counted("ipv4")),
    ("connections_over_ipv6", || connections::are_counted("ipv6")),
    ("connections_over_mapped_ipv4", || {
        connections::are_counted("mapped")
    }),
    (
        "lost_opens_are_told_with_the_end",
        lost_opens::are_told_with_the_end,
    ),
    (
        "lost_ends_of_a_pod_not_known_yet",
        lost_ends::of_a_pod_not_known_yet,
    ),
    (
        "lost_ends_of_connections_nobody_met",
        lost_ends::of_connections_nobody_met,
    ),
    ("missed_ends_of_a_gap", || missed_ends::of_a_gap("stays")),
    ("missed_ends_where_nobody_is_left", || {
        missed_ends::seen_by_all_means("missed_ends_where_nobody_is_left", "gap")
    }),
    ("missed_ends_under_an_earlier_agent", || {
        missed_ends::seen_by_all_means("missed_ends_under_an_earlier_agent", "leftovers")
    }),
    ("missed_none_in_a_crowd", missed_none::in_a_crowd),
    ("missed_none_in_full_view", || {
        missed_ends::seen_by_all_means("missed_none_in_full_view", "crowd")
    }),
    (
        "health_retransmits_are_the_kernels",
        tcp_health::retransmits_are_the_kernels,
    ),
    (
        "health_resets_are_told_by_both_ends",
        tcp_health::resets_are_told_by_both_ends,
    ),
    ("health_queues_are_told", tcp_health::queues_are_told),
    (
        "health_limits_are_the_kernels",
        tcp_health::limits_are_the_kernels,
    ),
    (
        "lost_handshakes_are_why_attempts_fail",
        lost_handshakes::are_why_attempts_fail,
    ),
    (
        "drops_without_a_socket_are_the_pods",
        lost_handshakes::drops_are_the_pods,
    ),
    ("bulk_runs_no_program", bulk::runs_no_program_for_tcp),
    ("hanging_connections_are_told", hanging::is_told),
    ("delays_are_the_kernels", delays::are_the_kernels),
    (
        "delays_and_losses_are_the_kernels",
        delays::retransmits_are_the_kernels,
    ),
    ("udp_datagrams_are_counted", udp::datagrams_are_counted),
    (
        "udp_of_many_peers_is_counted",
        udp::of_many_peers_are_counted,
    ),
    (
        "udp_in_odd_packets_is_counted",
        udp::in_odd_packets_are_counted,
    ),
    ("dns_look_ups_are_counted", dns::look_ups_are_counted),
    ("dns_of_a_real_resolver", resolver::look_ups_are_in_its_log),
    ("drops_have_their_reason", udp::drops_have_their_reason),
    ("failures_have_their_type", failures::have_their_type),
    ("socket_owner_is_its_cgroup", socket_owner::is_its_cgroup),
    ("pods_of_short_life", pods::of_short_life),
    ("pods_nobody_tells_of", pods::of_an_unknown_pod),
    ("pods_left_out_while_they_run", left_out::while_it_runs),
    ("containers_start_and_end", containers::start_and_end),
    (
        "containers_started_again_unread",
        containers::started_again_unread,
    ),
    (
        "containers_moved_to_another",
        containers::moved_with_what_they_use,
    ),
    (
        "containers_killed_for_memory",
        containers::killed_for_memory,
    ),
    ("v1_ids_do_not_collide", collisions::of_hierarchies),
    (
        "recording_replays_to_the_same",
        recorded::replays_to_the_same,
    ),
    (
        "recording_has_why_attempts_failed",
        recorded::has_why_attempts_failed,
    ),
    (
        "nested_state_changes_are_told",
        nested::state_changes_are_told,
    ),
    ("storm_over_a_small_ring", storm::over_a_small_ring),
    ("storm_through_the_pipeline", storm::through_the_pipeline),
    ("usage_of_short_lives", usage::of_short_lives_is_counted),
    (
        "usage_without_first_thread",
        usage::without_first_thread_is_told,
    ),
    (
        "usage_makes_room_for_a_while",
        crowds::make_room_for_a_while,
    ),
    (
        "passive_programs_are_attached",
        passive::programs_are_attached,
    ),
    (
        "passive_helpers_in_the_object",
        passive::helpers_in_the_object,
    ),
    (
        "live_more_than_the_ring_holds",
        many_live::more_than_the_ring_holds,
    ),
    ("live_in_each_namespace", many_live::in_each_namespace),
    (
        "live_in_a_pid_namespace",
        pid_namespaces::show_what_is_inside,
    ),
    ("invariants_at_rest", || invariants::at_rest("first")),
    ("invariants_at_rest_by_socket", || {
        invariants::at_rest("iter/tcp")
    }),
    ("invariants_of_a_wrong_table", invariants::wrong_table),
    ("ladder_one_feature_off", ladder::one_feature_off),
    ("ladder_broken_offsets", ladder::broken_offsets),
    ("ladder_without_privilege", ladder::without_privilege),
    ("classic_features_are_on", classic::features_are_on),
    ("classic_one_feature_off", classic::one_feature_off),
    ("classic_cgroups", classic::cgroups),
    ("classic_processes", classic::processes),
    ("classic_connections", classic::connections),
    ("classic_owners", classic::owners),
    ("program_stats_count_runs", program_stats::count_runs),
    ("oom_kill_names_its_victim", oom::names_its_victim),
    ("sock_diag_every_state", sock_diag::every_state),
    ("sock_diag_ten_thousand", sock_diag::ten_thousand),
    (
        "sock_diag_roll_of_ten_thousand",
        sock_diag::roll_of_ten_thousand,
    ),
    (
        "sock_diag_hundred_namespaces",
        sock_diag::hundred_namespaces,
    ),
    ("sock_diag_without_privilege", sock_diag::without_privilege),
    ("conntrack_real_destinations", conntrack::real_destinations),
    (
        "conntrack_asking_tracks_nothing",
        conntrack::asking_tracks_nothing,
    ),
    ("conntrack_without_privilege", conntrack::without_privilege),
    ("live_older_connections", live::older_connections),
    ("live_open_connections", live::open_connections),
    ("live_owners", live::owners),
    ("spill_connections", spill::connections_are_counted),
    ("spill_full", spill::totals_outlive_a_full_map),
    ("spill_processes", spill::processes_are_counted),
    ("restart_after_kill", restart::after_kill),
    ("restart_by_upgrade", restart::by_upgrade),
    ("restart_with_losses", restart::with_losses),
    ("restart_killed_in_between", restart::killed_in_between),
    ("heartbeat_stands_still", heartbeat::stands_still),
    ("restart_with_other_sizes", restart::with_other_sizes),
    (
        "restart_with_more_connections",
        resized::with_more_connections,
    ),
    ("restart_of_open_connections", restart::of_open_connections),
    ("restart_only_one", restart::only_one),
];

/// Of these, what takes a minute or more on emulated processors.
pub(crate) const LONG: [&str; 5] = [
    "pods_nobody_tells_of",
    "spill_full",
    "restart_killed_in_between",
    "heartbeat_stands_still",
    "restart_with_more_connections",
];
