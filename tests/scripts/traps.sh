# Traps and signals.
trap 'echo usr1' USR1
kill -USR1 $$; echo after usr1
trap '' USR2; kill -USR2 $$; echo ignored
trap 'echo int' INT; kill -INT $$
trap - USR1
sh -c 'kill -TERM $$'; echo "term: $?"
sh -c 'kill -KILL $$'; echo "kill: $?"
sh -c 'trap "echo bye; exit 9" TERM; kill -TERM $$; sleep 1'; echo "trapped: $?"
sh -c 'trap "echo exit trap" EXIT; exit 4'; echo "exit: $?"
sh -c 'trap "" TERM; sh -c "kill -TERM \$\$; echo inherited"'
n=0; trap 'n=$((n + 1))' USR1
for i in 1 2 3 4 5; do kill -USR1 $$; done; echo "n=$n"
trap 'echo last' EXIT
