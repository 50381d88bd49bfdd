# summary.awk - TAP of one program -> the failed tests with what they printed, the skipped ones with
# their reasons, and a line of counts. Variables: name, code (exit status), seconds.


/^not ok/ {
    failed++
    seen++
    printf "  FAILED %s: %s\n", name, $0
    printf "%s", notes # check.h and this project's scripts print the reason before the result
    notes = ""
    after = 1
    next
}
/^ok/ {
    seen++
    if (match($0, /# *[Ss][Kk][Ii][Pp]/)) {
        skipped++
        reason = substr($0, RSTART + RLENGTH)
        sub(/^[: ]+/, "", reason)
        title = substr($0, 1, RSTART - 1)
        sub(/^ok [0-9]+ (- )?/, "", title)
        printf "  skipped %s (%s): %s\n", name, title, reason
    } else {
        passed++
    }
    notes = ""
    after = 0
    next
}
/^1\.\.[0-9]+/ {
    planned = 1
    plan = substr($1, 4) + 0
    if (plan == 0 && match($0, /# *[Ss][Kk][Ii][Pp]/)) {
        skipped++
        reason = substr($0, RSTART + RLENGTH)
        sub(/^[: ]+/, "", reason)
        printf "  skipped %s (all): %s\n", name, reason
    }
    next
}
{
    if (after) { # Bats prints the reason after the result
        printf "    %s\n", $0
    } else if (length(notes) < 4000) {
        notes = notes "    " $0 "\n"
    }
}
END {
    if (!planned || plan != seen || (code != 0 && failed == 0)) {
        failed++
        printf "  FAILED %s: exit status %d, %d of %s tests reported\n", name, code, seen,
            planned ? plan : "an unknown number of"
        printf "%s", notes
    }
    printf "%-28s %4d passed, %d failed, %d skipped  (%d s)\n", name, passed, failed, skipped,
        seconds
}
