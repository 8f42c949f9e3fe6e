from tests.rig import rig
async def test_it(tmp_path):
    async with rig(tmp_path, mail__lease_ms=5000, mail__backoff_ms=1000) as r:
        a=await r.join("alice", role="service"); b=await r.join("bob", role="service", capacity=2)
        s=await a.ask("mail.send",to="bob",body={"x":1}, receipt=True)
        d=b.mail()[0]
        n=await b.ask("mail.nack",delivery=d["delivery"],claim=d["claim"],reason="no")
        assert n["failures"]==1 and n["ready_at"]
        await r.advance(1000)
        d=b.mail()[0]; assert d["attempt"]==2
        await r.advance(5001)
        await r.advance(5000)
        d=b.mail()[-1]; assert d["attempt"]==3, d
        ok=await b.ask("mail.ack",delivery=d["delivery"],claim=d["claim"],outputs=[{"to":"alice","body":"hi","reply_to":d["message"]}])
        m=a.mail(); assert [x["kind"] for x in m]==["message","receipt"], m
        dup=await b.ask("mail.ack",delivery=d["delivery"],claim=d["claim"],outputs=[{"to":"alice","body":"hi","reply_to":d["message"]}])
        assert dup["duplicate"] and dup["outputs"][0]["message"]==ok["outputs"][0]["message"]
        await b.refused("key_conflict","mail.ack",delivery=d["delivery"],claim=d["claim"])
        t=await a.ask("mail.trace",message=s["message"])
        print(t)
        for i in range(5): x=await a.ask("mail.send",to="bob",body=i,key=f"k{i}"); print(x)
        assert (await a.ask("mail.send",to="bob",body=0,key="k0"))["duplicate"]
        ds=b.mail(); assert [x["body"] for x in ds]==[0,1]
        await b.ask("mail.ack",delivery=ds[0]["delivery"],claim=ds[0]["claim"])
        assert [x["body"] for x in b.mail()]==[2]
        await r.restart()
        b=await r.join("bob", role="service", capacity=10)
        assert [x["body"] for x in b.mail()]==[3,4]
        await r.advance(5000)
        assert [(x["body"],x["attempt"]) for x in b.mail()]==[(1,1),(2,1)]
        l=await b.ask("mail.list",state="claimed"); assert len(l["deliveries"])==2
        print(await b.ask("mail.claim",max=2))
        o=await r.join("owner")
        print(r.rows("select seq,state,failures,claims from deliveries"))
        await o.ask("member.remove",member="bob")
        await r.settle()
        print(r.rows("select seq,state,failures,claims from deliveries"))
        await r.advance(8*86400_000)
        print(r.rows("select count(*) from deliveries"),r.rows("select count(*) from messages"),r.rows("select * from delivery_stretches"))
