# Subshells, command substitution, their scope and status.
x=outer
(x=inner; echo "$x"); echo "$x"
(exit 3); echo "status $?"
( (echo nested; exit 4) ; echo "in: $?"; exit 5 ); echo "out: $?"
y=$(echo one; echo two; echo; echo)
echo "[$y]"
echo "$(echo "$(echo "deep $(echo deeper)")")"
z=$(false); echo "z=$z status $?"
echo `echo back\`echo ticks\``
(cd /; pwd); basename "$PWD"
count=0; for i in $(seq 1 50); do count=$((count + $(echo $i))); done; echo $count
v=$( (echo a; echo b) | tr '\n' , ); echo "$v"
f() { echo "f $1"; return 7; }
r=$(f arg); echo "$r $?"
echo "$(cat <<END
here in a substitution
END
)"
$(echo echo) run by name
(trap 'echo leaving' EXIT; echo body)
( : "${unset_variable:?is unset}" ) 2>/dev/null; echo "unset: $?"
