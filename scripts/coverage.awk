# From lcov's records: a table per file, and the lines that nothing ran with their text. What stands
# behind a file's first `#[cfg(test)]` at the left margin, and files of tests, do not count.
# Called by scripts/coverage, with the name of the list in `uncovered`.

function row(name, of, missed) {
    return sprintf("%-40s %6d %6d %6.1f %%", name, of, missed, of ? 100 * (of - missed) / of : 100)
}

function read_source(path,    line) {
    delete text
    for (last = 0; (getline line < path) > 0 && line != "#[cfg(test)]";) {
        text[++last] = line
    }
    close(path)
}

BEGIN {
    FS = "[:,]"
    printf "" > uncovered
    printf "%-40s %6s %6s %8s\n", "file", "lines", "missed", "covered"
}

/^SF:/ {
    path = substr($0, 4)
    sub(/^.*\/src\//, "src/", path)
    ours = path ~ /^src\// && path !~ /tests\.rs$/
    of = missed = 0
    if (ours) {
        read_source(path)
    }
}

/^DA:/ && ours && $2 <= last {
    of++
    if ($3 == 0) {
        missed++
        printf "%s:%d: %s\n", path, $2, text[$2] > uncovered
    }
}

/^end_of_record/ && ours && of {
    print row(path, of, missed)
    part = path ~ /^src\/.*\// ? path : "src/"
    sub(/^src\//, "", part)
    sub(/\/.*$/, "", part)
    parts[part] = 1
    all[part] += of
    none[part] += missed
    lines += of
    unseen += missed
}

END {
    print ""
    for (part in parts) {
        print row("src/" part, all[part], none[part]) | "sort"
    }
    close("sort")
    print row("total", lines, unseen)
}
