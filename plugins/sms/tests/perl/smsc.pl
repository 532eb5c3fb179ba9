# An SMSC on Perl's Net::SMPP, for one connection: it takes what comes, and sends a receipt for each message at once.
# What it sees it tells, one line each, with TAB between the fields.
use strict;
use warnings;
use Net::SMPP;

$| = 1;
my $listen = Net::SMPP->new_listen('127.0.0.1', port => 0) or die "no listener: $!";
print "port\t", $listen->sockport, "\n";
my $smpp = $listen->accept or die "no connection: $!";
my $last = 4711000;
while (my $pdu = $smpp->read_pdu) {
    if ($pdu->{cmd} == Net::SMPP::CMD_bind_transceiver) {
        print "bind\t$pdu->{system_id}\t$pdu->{password}\t$pdu->{interface_version}\n";
        $smpp->bind_transceiver_resp(seq => $pdu->{seq}, status => 0, system_id => 'perl');
    } elsif ($pdu->{cmd} == Net::SMPP::CMD_submit_sm) {
        my $id = ++$last;
        print join("\t", 'submit', $pdu->{source_addr}, $pdu->{destination_addr}, $pdu->{esm_class},
            $pdu->{data_coding}, $pdu->{registered_delivery}, unpack('H*', $pdu->{short_message}),
            unpack('H*', $pdu->{user_message_reference} // '')), "\n";
        $smpp->submit_sm_resp(seq => $pdu->{seq}, status => 0, message_id => $id);
        $smpp->deliver_sm(
            source_addr => $pdu->{destination_addr},
            destination_addr => $pdu->{source_addr},
            esm_class => 4,
            short_message => "id:$id sub:001 dlvrd:001 submit date:2611251200 done date:2611251201 stat:DELIVRD err:000 text:",
            async => 1,
        );
    } elsif ($pdu->{cmd} == Net::SMPP::CMD_deliver_sm_resp) {
        print "acknowledged\t$pdu->{status}\n";
    } elsif ($pdu->{cmd} == Net::SMPP::CMD_enquire_link) {
        print "enquire_link\n";
        $smpp->enquire_link_resp(seq => $pdu->{seq}, status => 0);
    } elsif ($pdu->{cmd} == Net::SMPP::CMD_unbind) {
        print "unbind\n";
        $smpp->unbind_resp(seq => $pdu->{seq}, status => 0);
        last;
    } else {
        printf "other\t%x\n", $pdu->{cmd};
    }
}
