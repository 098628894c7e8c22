//! The end-to-end scenarios: a whole binary between raw clients and raw backends, on loopback.
//!
//! They are written once. Each adapter runs all of them on its own binary with one line in `tests/e2e.rs`:
//! `lb_testkit::e2e_suite!(env!("CARGO_BIN_EXE_..."));`. Every scenario is a test of its own, named after the
//! behaviour it asks for; those that begin with `row_` are named after a row of the table of hostile traffic. The
//! example of a third runtime runs all but the demo, which takes its time.
//!
//! No scenario knows the engine: what it asserts are bytes, log lines and exit codes. Each waits for conditions
//! with a generous bound and not for a time that has to suffice, uses ports that the system chose, and ends.

pub mod balancing;
pub mod decisions;
pub mod demo;
pub mod logs;
pub mod messages;
pub mod resilience;
pub mod rotation;
pub mod rows_cost;
pub mod rows_framing;
pub mod rows_trust;
pub mod setup;
pub mod stopping;
pub mod streaming;
pub mod tunnel;

/// Expands to one test for each scenario, run on the binary at this path; `without demo`, to each but those of the demo.
#[macro_export]
macro_rules! e2e_suite {
    ($binary:expr) => {
        $crate::e2e_suite! { $binary, without demo }
        $crate::e2e_suite! { @ $binary,
            demo {
                the_demo_goes_once_through_its_programme
                the_demo_leaves_no_server_behind_when_it_is_killed
            }
        }
    };
    ($binary:expr, without demo) => {
        $crate::e2e_suite! { @ $binary,
            balancing {
                a_cookie_keeps_a_client_at_its_server_across_restarts_and_orders
                a_key_keeps_its_server_in_any_order_and_whoever_else_leaves
                a_backup_serves_only_while_no_other_server_can
                a_backup_answers_what_the_only_server_breaks
                a_probe_that_looks_for_a_text_takes_a_server_out_without_it
                when_all_are_down_anybody_is_tried_only_where_the_pool_says_so
            }
            decisions {
                explain_tells_whom_and_why_and_asks_nobody
                explain_tells_machines_the_same
                explain_refuses_what_run_refuses
                the_log_tells_the_decision_behind_a_local_answer
                the_decision_is_told_to_trusted_peers_that_ask_and_to_nobody_else
            }
            rotation {
                requests_go_round_in_file_order_across_connections_and_workers
                stopped_servers_leave_the_rotation_and_returning_ones_rejoin
                a_refused_server_costs_no_request_and_returns_without_probes
                nobody_left_is_answered_503_with_retry_after_at_once
                a_flapping_server_fails_no_get
                nothing_new_is_sent_to_a_frozen_server_after_the_guards_second
                one_client_alone_is_rescued_from_a_frozen_server
                an_observed_limit_is_told_and_refuses_nobody
                balancers_share_a_fleet
                a_large_post_to_a_refused_server_goes_elsewhere
                the_tutorials_json_file_works_as_it_is
                the_tutorials_keys_work_in_toml
                flags_alone_are_enough_to_run
                transitions_are_logged_with_their_cause
                transitions_are_logged_in_the_order_in_which_they_happened
                the_debug_header_is_off_unless_configured
                an_http_10_server_is_balanced_and_probed
            }
            messages {
                all_methods_are_forwarded
                path_and_query_go_through_byte_for_byte
                duplicate_fields_keep_their_order_both_ways
                the_backend_is_told_about_the_client
                every_status_goes_through
                answers_without_a_body_keep_the_connection_in_step
                connections_are_kept_on_both_sides
                pipelined_requests_are_answered_in_order
                a_kept_connection_that_the_backend_closed_costs_no_request
                a_backend_that_closes_under_requests_is_soon_known
                trailers_go_through_both_ways
                trailers_that_nobody_named_or_takes_are_left_out
                expect_100_continue_brings_the_100_and_then_the_answer
                an_http_10_client_gets_what_it_understands
                an_http_10_server_serves_one_request_per_connection
                the_backends_connection_close_stays_on_its_side
                early_hints_are_dropped_and_the_answer_arrives
                only_what_may_be_repeated_is_sent_again
            }
            resilience {
                a_get_that_waits_is_hedged_and_the_first_answer_wins
                the_total_ends_an_answer_whatever_it_does
                each_limit_that_is_hit_says_its_name
                a_connection_above_the_limit_is_told_so_at_once
            }
            streaming {
                an_answer_streams_while_it_is_made
                a_request_streams_while_it_is_sent
                an_answer_may_start_before_the_request_has_ended
                large_bodies_arrive_whole
                a_slow_reader_slows_the_backend
                a_slow_backend_slows_the_sender
                a_client_that_goes_away_cancels_its_request
                a_cut_answer_never_looks_complete
                a_cut_request_never_looks_complete
                timeouts_answer_with_who_was_silent
                a_body_above_the_limit_gets_413
                an_answer_that_did_not_wait_for_the_body_arrives_whole
            }
            tunnel {
                a_websocket_is_a_tunnel_both_ways
                a_tunnel_carries_a_lot
                the_end_of_one_side_reaches_the_other
                an_idle_tunnel_ends
                a_declined_upgrade_is_an_ordinary_answer
            }
            logs {
                the_access_log_says_what_was
                an_ipv4_client_is_logged_by_its_ipv4_address
                the_error_log_tells_causes_and_is_silent_otherwise
                a_client_that_left_is_logged_as_499
                what_clients_send_cannot_forge_a_line
                the_access_log_can_be_off
            }
            stopping {
                term_lets_running_requests_finish
                nothing_that_was_sent_before_term_is_lost
                clients_that_keep_coming_get_an_answer_or_no_connection
                requests_behind_the_last_one_do_not_cost_its_answer
                idle_connections_do_not_delay_the_end
                clients_that_keep_coming_do_not_keep_the_door_open
                a_second_term_ends_at_once
                a_second_term_cuts_visibly
                the_end_of_the_grace_cuts_what_still_runs
                the_shutdown_delay_keeps_accepting
                a_port_in_use_ends_with_1_and_a_message
                every_port_in_use_is_told_in_its_place
                an_unreadable_file_ends_with_1_and_its_name
                mistakes_in_the_file_end_with_1_and_are_all_reported
                a_key_of_a_later_version_says_so
                wrong_usage_ends_with_2
                check_prints_what_would_run
                help_and_version_are_there
                an_unused_process_stops_at_once
            }
            rows_framing {
                row_05_an_emptied_body_takes_its_length_along
                row_06_a_get_keeps_its_body
                row_07_transfer_encoding_is_chunked_once_or_refused
                row_13_bytes_behind_an_upgrade_request_wait_for_the_101
                row_15_a_200_is_no_upgrade
                row_16_an_upgrade_with_a_body_is_refused
                row_17_an_unsolicited_101_is_a_502
                row_21_an_early_answer_to_expect_poisons_no_connection
                row_22_expect_options_and_folding_desynchronise_nobody
                row_23_connection_cannot_name_framing_or_identity_away
                row_26_an_answer_has_one_framing
                row_27_forbidden_trailers_are_dropped
                bytes_behind_an_answer_reach_nobody
            }
            rows_trust {
                row_29_connection_cannot_name_our_fields_away
                row_30_aliases_of_our_fields_do_not_pass
                row_31_forwarded_fields_are_believed_from_trusted_proxies_only
                row_32_the_proxy_field_is_dropped
                row_33_h2c_does_not_pass
                row_38_a_request_has_exactly_one_valid_host
                row_39_connect_and_trace_are_refused
            }
            rows_cost {
                row_49_a_dripping_head_is_cut_at_its_deadline
                row_50_a_large_head_is_refused
                row_51_nothing_is_unpacked_and_little_is_held
                row_53_endless_interim_answers_end_the_attempt
                row_62_a_slow_reader_gets_every_byte
            }
        }
    };
    (@ $binary:expr, $($group:ident { $($scenario:ident)* })*) => {
        $(mod $group {
            $(#[test]
            fn $scenario() {
                $crate::e2e::setup::bounded($binary, $crate::e2e::$group::$scenario);
            })*
        })*
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_suite_runs_every_scenario() {
        let suite = include_str!("mod.rs");
        let groups = [
            ("balancing", include_str!("balancing.rs")),
            ("decisions", include_str!("decisions.rs")),
            ("demo", include_str!("demo.rs")),
            ("logs", include_str!("logs.rs")),
            ("messages", include_str!("messages.rs")),
            ("resilience", include_str!("resilience.rs")),
            ("rotation", include_str!("rotation.rs")),
            ("rows_cost", include_str!("rows_cost.rs")),
            ("rows_framing", include_str!("rows_framing.rs")),
            ("rows_trust", include_str!("rows_trust.rs")),
            ("stopping", include_str!("stopping.rs")),
            ("streaming", include_str!("streaming.rs")),
            ("tunnel", include_str!("tunnel.rs")),
        ];
        for (group, source) in groups {
            let listed = suite
                .split_once(&format!("            {group} {{"))
                .and_then(|(_, rest)| rest.split_once('}'))
                .map(|(list, _)| list.split_whitespace().collect::<Vec<_>>())
                .unwrap_or_default();
            let written: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub fn ")?.split_once('('))
                .map(|(name, _)| name)
                .collect();
            assert_eq!(listed, written, "{group}");
        }
    }
}
