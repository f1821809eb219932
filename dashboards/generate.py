#!/usr/bin/env python3
"""Makes welcomed.json, the Grafana dashboard, from the rows and panels written below.

    dashboards/generate.py           writes dashboards/welcomed.json
    dashboards/generate.py --check   fails if the committed file is not what this makes

Needs the standard library alone. What every panel shares is in panels.py; what a panel shows is a
few lines, here.
"""

import json
import pathlib
import sys

# Nothing beside the sources.
sys.dont_write_bytecode = True

from panels import (
    DATASOURCE, COLOURS, WIDTH, m, rate, increase, total, quantile, over, graph, number, table,
    heatmap,
)

TARGET = pathlib.Path(__file__).with_name("welcomed.json")

BUSY = total(rate("welcomed_worker_busy_seconds_total"))
MESSAGES = total(rate("welcomed_messages_total"))
ERRORS = total(rate("welcomed_message_errors_total"))
WAIT = "welcomed_queue_wait_seconds"
HANDLER = ("welcomed_message_duration_seconds", 'phase="handler"')
WRITE = ("welcomed_message_duration_seconds", 'phase="write"')


def trouble():
    """What should be 0: numbers that call for a look, for the row at the top."""
    return [
        number("Stuck workers",
               "Workers whose call has run longer than pool.stuck_after. The log names worker and "
               "connection; if the call does not return, only a restart frees the worker.",
               "short", [("stuck", total(m("welcomed_workers_overdue")))], bad=1, width=6),
        number("Shed connections",
               "Connections per second that were told to try again because everybody had waited "
               "longer than overload.max_queue_wait. Add workers if the machine has CPU left, "
               "else servers.", "ops",
               [("shed", total(rate("welcomed_queue_shed_total")))], bad=0.001, width=6),
        number("Reload failed",
               "Servers that refused their last reload and run with the configuration from before "
               "it. `welcomed check --config FILE` says what is wrong.", "short",
               [("servers", f"sum(1 - {m('welcomed_config_last_reload_successful')})")],
               warn=1, width=6),
        number("Draining",
               "Servers that were told to stop and have not ended. One that stays is held by a "
               "handler that does not return.", "short",
               [("servers", total(m("welcomed_draining")))], warn=1, width=6),
    ]


def overload():
    """What the server does to protect itself, and what it cannot mend."""
    return [
        graph("Stuck workers, by server",
              "Workers whose call has run longer than pool.stuck_after. All of a server's: it "
              "serves nobody and is not ready. A few that come and go: pool.stuck_after is "
              "shorter than the service takes.", "short",
              [("{{instance}}", m("welcomed_workers_overdue"))], steps=True),
        graph("Shed",
              "Connections with work that were told to try again instead of being served, per "
              "second. `late`: they, and all others, had waited longer than "
              "overload.max_queue_wait.", "ops",
              [("{{reason}}", total(rate("welcomed_queue_shed_total"), "reason"))], stacked=True),
        graph("Times full",
              "Times that a server had no place left and let new clients wait in the kernel's "
              "queue (overload.policy is `wait`). Often: raise limits.max_connections, or add "
              "servers; how long it lasted, Not accepting says.", "short",
              [("{{instance}}", increase("welcomed_accept_pauses_total", 'cause="limit"'))]),
    ]


def changes():
    """Reloads and drains."""
    return [
        graph("Reloads",
              "Reloads asked for with SIGHUP, and those refused: the configuration from before "
              "stays in force as a whole. The log says what was wrong.", "short",
              [("asked for", total(increase("welcomed_config_reloads_total"))),
               ("refused", total(increase("welcomed_config_reload_failures_total")))]),
        graph("Ready and draining",
              "Servers that want clients, and servers that were told to stop. A server that is "
              "neither has just started, or all of its workers are stuck.", "short",
              [("ready", total(m("welcomed_ready"))),
               ("draining", total(m("welcomed_draining")))], steps=True),
        number("Configuration in force since",
               "When each server last took a configuration into use, its start included. One "
               "that is older than its neighbours missed a reload, or refused it.",
               "dateTimeFromNow",
               [("{{instance}}",
                 f"{m('welcomed_config_last_reload_success_timestamp_seconds')} * 1000")],
               width=8),
    ]


# (title, whether it is open, panels)
ROWS = [
    ("At a glance", True, [
        number("Ready servers",
               "Servers that report ready, and servers that Prometheus looks for.", "short",
               [("ready", total(m("welcomed_ready"))), ("known", f"count({m('up')})")]),
        number("Messages per second", "Messages answered or failed, by all servers together.",
               "reqps", [("messages", MESSAGES)]),
        number("Failed messages", "Share of the messages that ended in an error.", "percentunit",
               [("failed", over(ERRORS, MESSAGES))], warn=0.001, bad=0.01),
        number("Queue wait, p99",
               "99 of 100 connections with work got a worker within this time. What clients feel "
               "first when there are too few workers.", "s",
               [("p99", quantile(0.99, WAIT))], warn=0.1, bad=0.25),
        number("Pool in use",
               "Share of the workers' time that went into serving. Above 0.7 waits grow quickly, "
               "above 0.9 steeply.", "percentunit",
               [("in use", f"{BUSY} / {total(m('welcomed_workers'))}")],
               warn=0.7, bad=0.9, kind="gauge"),
        number("Saturated",
               "Share of time in which every worker was busy and a connection waited, on the "
               "server where it was worst.", "percentunit",
               [("saturated", f"max({rate('welcomed_pool_saturated_seconds_total')})")],
               warn=0.1, bad=0.5, kind="gauge"),
        *trouble(),
    ]),
    ("Pool: use, saturation, errors", True, [
        graph("Workers",
              "Threads configured, existing and serving at the moment of the scrape. Short bursts "
              "do not show here: look at the pool in use. Recommended are as many as keep the "
              "mean wait below 10 ms; nothing shows while too little arrives to tell.", "short",
              [("limit", total(m("welcomed_workers_limit"))),
               ("existing", total(m("welcomed_workers"))),
               ("serving", total(m("welcomed_workers_busy"))),
               ("recommended", total(m("welcomed_pool_recommended_workers")))],
              steps=True, limits=["limit"]),
        graph("Pool in use, by server",
              "Share of each server's worker time that went into serving, turns still running "
              "included.", "percentunit",
              [("{{instance}}",
                f"{rate('welcomed_worker_busy_seconds_total')} / {m('welcomed_workers')}")]),
        graph("Saturated, by server",
              "Share of time in which every worker was busy and a connection waited.",
              "percentunit",
              [("{{instance}}", rate("welcomed_pool_saturated_seconds_total"))]),
        graph("Queue wait",
              "How long a connection with work waited for a worker.", "s",
              [("p99", quantile(0.99, WAIT)), ("p90", quantile(0.9, WAIT)),
               ("p50", quantile(0.5, WAIT))]),
        heatmap("Queue wait, distribution",
                "Waits per second by length: two bands are two kinds of work in one pool.", "s",
                total(rate(f"{WAIT}_bucket"), "le")),
        graph("Waiting for a worker",
              "Connections with work that no worker has taken yet, and how many the queue holds. "
              "A sample of a moment: time is the better signal.", "short",
              [("waiting", total(m("welcomed_connections", 'state="queued"'))),
               ("room", total(m("welcomed_queue_limit")))],
              limits=["room"]),
    ]),
    ("Overload and stuck workers", False, overload()),
    ("Messages: rate, errors, duration", False, [
        graph("Messages", "Messages answered or failed, per second.", "reqps",
              [("{{instance}}", rate("welcomed_messages_total"))], stacked=True),
        graph("Failed messages by reason",
              "Messages that ended in an error, per second. `panic` and `handler` are the "
              "service's, the other reasons the client's.", "reqps",
              [("{{reason}}", total(rate("welcomed_message_errors_total"), "reason"))],
              stacked=True),
        graph("Handler time", "How long the service worked on a message.", "s",
              [("p99", quantile(0.99, *HANDLER)), ("p50", quantile(0.5, *HANDLER))]),
        graph("Write time",
              "How long a write of gathered replies took. Long ones are a kernel or a machine "
              "without time: a worker does not wait for a slow client.", "s",
              [("p99", quantile(0.99, *WRITE)), ("p50", quantile(0.5, *WRITE))]),
        graph("Bytes", "Bytes read from clients, and below the line those written to them.", "Bps",
              [("received", total(rate("welcomed_received_bytes_total"))),
               ("sent", total(rate("welcomed_sent_bytes_total")))],
              mirror=["sent"]),
        graph("Mean message",
              "Bytes received and sent per message, framing included.", "bytes",
              [("received", over(total(rate("welcomed_received_bytes_total")), MESSAGES)),
               ("sent", over(total(rate("welcomed_sent_bytes_total")), MESSAGES))]),
    ]),
    ("Connections", False, [
        graph("Open connections",
              "By state: parked ones wait for bytes and cost no worker, queued ones wait for a "
              "worker, active ones have one, closing ones are being read to their end.", "short",
              [("{{state}}", total(m("welcomed_connections"), "state")),
               ("limit", total(m("welcomed_connections_limit")))],
              stacked=True, limits=["limit"]),
        graph("Accepted", "Connections accepted per second, by listener.", "ops",
              [("{{listener}}", total(rate("welcomed_connections_accepted_total"), "listener"))]),
        graph("Rejected",
              "Connections closed by the server before the first message, per second. "
              "`max_connections`: every place is taken; `per_ip`: every place of one address; "
              "`denied`: limits.allow or limits.deny says so.", "ops",
              [("{{reason}}", total(rate("welcomed_connections_rejected_total"), "reason"))],
              stacked=True),
        graph("Closed",
              "Connections that were served and ended, per second, by reason. `max_age` is "
              "timeouts.max_age at work; `shed` is overload.max_queue_wait, a pool too slow for "
              "its clients.", "ops",
              [("{{reason}}", total(rate("welcomed_connections_closed_total"), "reason"))],
              stacked=True),
        graph("Lifetime", "How long closed connections had been open.", "s",
              [("p90", quantile(0.9, "welcomed_connection_duration_seconds")),
               ("p50", quantile(0.5, "welcomed_connection_duration_seconds"))]),
        graph("Turns and parks per message",
              "How often a connection got a worker, and how often it was handed back to wait for "
              "bytes, per message: 1 is one message at a time, less is a client that sends "
              "several, more is messages in pieces.", "short",
              [("turns", over(total(rate("welcomed_worker_turns_total")), MESSAGES)),
               ("parks", over(total(rate("welcomed_connection_parks_total")), MESSAGES))]),
    ]),
    ("Accept path", False, [
        graph("Kernel accept queue",
              "Connections that wait in the kernel to be accepted, and how many may. Full: the "
              "kernel drops connections, and clients see timeouts.", "short",
              [("{{instance}} {{listener}}", m("welcomed_listen_backlog")),
               ("{{instance}} {{listener}} limit", m("welcomed_listen_backlog_limit"))],
              limits=["{{instance}} {{listener}} limit"]),
        graph("Accept errors",
              "Failures of accept per second, by code. `emfile` and `enfile`: out of file "
              "descriptors.", "ops",
              [("{{code}}", total(rate("welcomed_accept_errors_total"), "code"))], stacked=True),
        graph("Not accepting", "Share of time in which a server paused accepting.", "percentunit",
              [("{{instance}}", rate("welcomed_accept_paused_seconds_total"))]),
        graph("Pauses",
              "Times accepting was paused, by cause. `limit`: every place is taken, and "
              "overload.policy is `wait`; `fd`: out of file descriptors; `pressure`: out of "
              "memory, or the listener fails.", "short",
              [("{{cause}}", total(increase("welcomed_accept_pauses_total"), "cause"))]),
    ]),
    ("Lifecycle", False, [
        table("Versions", "What is running, and on how many servers.",
              [("", f"count by (version, revision, rustc, target) ({m('welcomed_build_info')})")]),
        table("Configurations",
              "Hashes of the active configurations, and on how many servers. More than one for "
              "long: a server missed a change.",
              [("", f"count by (job, hash) ({m('welcomed_config_info')})")]),
        number("Started", "When each server started.", "dateTimeFromNow",
               [("{{instance}}", f"{m('process_start_time_seconds')} * 1000")], width=8),
        graph("Restarts",
              "Servers that started anew, and workers that began anew after a panic that escaped "
              "a turn, which is a bug of ours.", "short",
              [("servers", f"sum(changes({m('process_start_time_seconds')}[$__rate_interval]))"),
               ("workers", total(increase("welcomed_worker_restarts_total")))]),
        graph("Pool resizes", "Completed changes of the number of workers.", "short",
              [("{{direction}}", total(increase("welcomed_pool_resizes_total"), "direction"))]),
    ]),
    ("Log", False, [
        graph("Log lines by level",
              "Records logged per second, those included that a limit of equal warnings held back.",
              "ops",
              [("{{level}}", total(rate("welcomed_log_messages_total"), "level"))], stacked=True,
              width=12),
        graph("Log lines lost",
              "Lines dropped because whatever reads the server's standard error was too slow.",
              "short",
              [("{{instance}}", increase("welcomed_log_dropped_total"))], width=12),
    ]),
    ("Reloads and drains", False, changes()),
    ("Process", False, [
        graph("CPU", "Cores that each server uses.", "short",
              [("{{instance}}", rate("process_cpu_seconds_total"))], width=6),
        graph("Memory", "Resident and virtual memory of all servers.", "bytes",
              [("resident", total(m("process_resident_memory_bytes"))),
               ("virtual", total(m("process_virtual_memory_bytes")))], width=6),
        graph("File descriptors", "Open ones, and how many may be.", "short",
              [("open", total(m("process_open_fds"))), ("limit", total(m("process_max_fds")))],
              limits=["limit"], width=6),
        graph("Threads", "Threads of each server.", "short",
              [("{{instance}}", m("process_threads"))], steps=True, width=6),
    ]),
    ("Side port", False, [
        graph("Requests", "Requests for metrics and health, per second.", "reqps",
              [("{{path}} {{code}}", total(rate("welcomed_admin_requests_total"), "path, code"))]),
        graph("Rejected", "Connections to the side port refused before a path was known.", "ops",
              [("{{reason}}", total(rate("welcomed_admin_rejected_total"), "reason"))]),
        graph("Scrape time", "How long the previous answer with metrics took to make.", "s",
              [("{{instance}}", m("welcomed_scrape_duration_seconds"))]),
        graph("Scrape errors", "Collectors that failed during a scrape.", "short",
              [("{{instance}}", increase("welcomed_scrape_errors_total"))]),
    ]),
]


def laid_out():
    """The rows one below the other, their panels from left to right. A closed row holds its
    panels; those of an open one follow it."""
    panels = []
    y = 0
    ident = 0
    for title, is_open, row in ROWS:
        ident += 1
        header = {"collapsed": not is_open, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                  "id": ident, "panels": [], "title": title, "type": "row"}
        x, top, below = 0, y + 1, y + 1
        for one in row:
            ident += 1
            size = one["gridPos"]
            if x + size["w"] > WIDTH:
                x, top = 0, below
            one["gridPos"] = {"x": x, "y": top, **size}
            one["id"] = ident
            x += size["w"]
            below = max(below, top + size["h"])
        panels.append(header)
        if is_open:
            panels += row
            y = below
        else:
            header["panels"] = row
            y += 1
    return panels


def variable(name, query):
    """A choice among the values of a label."""
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "definition": query,
        "includeAll": True,
        "label": name,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }


def annotation(name, expr, title, colour):
    """Vertical lines where something happened."""
    return {"datasource": DATASOURCE, "enable": True, "expr": expr, "iconColor": colour,
            "name": name, "step": "", "textFormat": "{{instance}}", "titleFormat": title}


DASHBOARD = {
    "annotations": {"list": [
        annotation("Restarts", f"changes({m('process_start_time_seconds')}[$__rate_interval]) > 0",
                   "Server started", COLOURS[1]),
        annotation("Reloads", f"{increase('welcomed_config_reloads_total')} > 0",
                   "Configuration reloaded", COLOURS[2]),
        annotation("Pool resizes", f"{increase('welcomed_pool_resizes_total')} > 0",
                   "Pool resized: {{direction}}", COLOURS[0]),
    ]},
    "description": "welcomed: how full the pool is, how messages and connections fare.",
    "editable": False,
    "graphTooltip": 1,
    "links": [],
    "panels": laid_out(),
    "refresh": "30s",
    "schemaVersion": 41,
    "tags": ["welcomed", "prometheus"],
    "templating": {"list": [
        {"current": {}, "includeAll": False, "label": "Data source", "multi": False,
         "name": "datasource", "options": [], "query": "prometheus", "refresh": 1, "regex": "",
         "type": "datasource"},
        variable("job", "label_values(welcomed_build_info, job)"),
        variable("instance", 'label_values(welcomed_build_info{job=~"$job"}, instance)'),
    ]},
    "time": {"from": "now-1h", "to": "now"},
    "timezone": "browser",
    "title": "welcomed",
    "uid": "welcomed",
    "version": 1,
}


def main(arguments):
    """Writes the dashboard, or compares it."""
    text = json.dumps(DASHBOARD, indent=2, sort_keys=True) + "\n"
    if arguments == ["--check"]:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            sys.exit(f"{TARGET.name} is not what generate.py makes: run dashboards/generate.py")
    elif not arguments:
        TARGET.write_text(text, encoding="utf-8")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
