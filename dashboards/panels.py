"""Panels and queries of the dashboard: what all of them share, said once.

Used by generate.py. The datasource, the matchers on job and instance, the kinds of panels with
their options; where a panel stands on the grid is generate.py's.
"""

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
SELECT = 'job=~"$job",instance=~"$instance"'
# Okabe and Ito's palette: told apart by colour-blind eyes, and in this order also on paper.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
WIDTH = 24


def m(name, matchers=""):
    """A metric of the chosen servers."""
    return f"{name}{{{SELECT}{',' + matchers if matchers else ''}}}"


def rate(name):
    """A counter, per second."""
    return f"rate({m(name)}[$__rate_interval])"


def increase(name, matchers=""):
    """A counter's growth."""
    return f"increase({m(name, matchers)}[$__rate_interval])"


def total(expr, by=""):
    """The sum of all servers."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def quantile(q, name, matchers=""):
    """A quantile over all servers."""
    buckets = f"rate({m(name + '_bucket', matchers)}[$__rate_interval])"
    return f"histogram_quantile({q}, {total(buckets, 'le')})"


def over(part, whole):
    """A ratio; nothing, not NaN, where there is nothing to divide by."""
    return f"{part} / ({whole} > 0)"


def ref(number):
    """What Grafana calls a panel's queries: A, B, C."""
    return chr(ord("A") + number)


def panel(kind, title, description, unit, queries, size, **more):
    """A panel. `queries` are (legend, expression) pairs."""
    targets = []
    for number, (legend, expr) in enumerate(queries):
        target = {
            "datasource": DATASOURCE,
            "expr": expr,
            "legendFormat": legend,
            "refId": ref(number),
        }
        target.update(more.get("target", {}))
        targets.append(target)
    defaults = {"unit": unit, "min": 0, "color": {"mode": "palette-classic"}}
    defaults.update(more.get("defaults", {}))
    return {
        "datasource": DATASOURCE,
        "description": description,
        "fieldConfig": {"defaults": defaults, "overrides": more.get("overrides", [])},
        "gridPos": {"w": size[0], "h": size[1]},
        "options": more.get("options", {}),
        "targets": targets,
        "title": title,
        "type": kind,
    }


def graph(title, description, unit, queries, *, stacked=False, steps=False, limits=(), mirror=(),
          width=8):
    """Lines over time. Lines named in `limits` are dashed and never stacked; those in `mirror` are
    drawn below zero."""
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if stacked else 5,
              "showPoints": "never", "axisSoftMin": 0}
    if stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    if steps:
        custom["lineInterpolation"] = "stepAfter"
    overrides = []
    for number, (legend, _) in enumerate(queries):
        different = {}
        # A line per query has a colour of its own; lines per label value take Grafana's.
        if "{{" not in legend:
            different["color"] = {"mode": "fixed", "fixedColor": COLOURS[number]}
        if legend in limits:
            different["custom.lineStyle"] = {"fill": "dash", "dash": [10, 10]}
            different["custom.fillOpacity"] = 0
            different["custom.stacking"] = {"mode": "none", "group": "B"}
        if legend in mirror:
            different["custom.transform"] = "negative-Y"
        if different:
            properties = [{"id": key, "value": value} for key, value in different.items()]
            overrides.append({"matcher": {"id": "byFrameRefID", "options": ref(number)},
                              "properties": properties})
    made = panel("timeseries", title, description, unit, queries, (width, 8),
                 defaults={"custom": custom}, overrides=overrides,
                 options={"legend": {"displayMode": "list", "placement": "bottom"},
                          "tooltip": {"mode": "multi", "sort": "desc"}})
    if mirror:
        del made["fieldConfig"]["defaults"]["min"]
    return made


def number(title, description, unit, queries, *, warn=None, bad=None, kind="stat", width=4):
    """One number, now."""
    steps = [{"color": COLOURS[0], "value": None}]
    steps += [{"color": COLOURS[4], "value": warn}] if warn is not None else []
    steps += [{"color": COLOURS[1], "value": bad}] if bad is not None else []
    defaults = {"color": {"mode": "thresholds"}, "noValue": "-",
                "thresholds": {"mode": "absolute", "steps": steps}}
    if unit == "percentunit":
        defaults["max"] = 1
    return panel(kind, title, description, unit, queries, (width, 4), defaults=defaults,
                 options={"reduceOptions": {"calcs": ["lastNotNull"], "fields": "",
                                            "values": False}})


def table(title, description, queries, *, width=12):
    """The labels of the newest samples."""
    made = panel("table", title, description, "none", queries, (width, 6),
                 target={"format": "table", "instant": True},
                 options={"showHeader": True})
    hidden = {"id": "organize", "options": {"excludeByName": {"Time": True},
                                            "renameByName": {"Value": "servers"}}}
    made["transformations"] = [hidden]
    return made


def heatmap(title, description, unit, query, *, width=8):
    """A distribution over time."""
    made = panel("heatmap", title, description, "short", [("{{le}}", query)], (width, 8),
                 target={"format": "heatmap"},
                 defaults={"custom": {"hideFrom": {"legend": False, "tooltip": False,
                                                   "viz": False}}})
    made["options"] = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Cividis", "steps": 64, "exponent": 0.5,
                  "scale": "exponential", "reverse": False, "fill": COLOURS[0]},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"show": True, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
        "exemplars": {"color": COLOURS[1]},
    }
    return made
