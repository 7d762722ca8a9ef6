"""Surnames and first names that are frequent: a hint to the tagger, no more; most names that it finds are in no list.

Written down from common knowledge: Korean surnames, and names of the English-speaking world and of Europe, with those
of people who write English elsewhere.
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SURNAMES = _words(
    """
    김 이 박 최 정 강 조 윤 장 임 한 오 서 신 권 황 안 송 류 유 홍 전 고 문 양 손 배 백 허 남 심 노 하
    곽 성 차 주 우 구 민 나 진 지 엄 채 원 천 방 공 현 함 변 염 여 추 도 소 석 선 설 마 길 연 위 표 명
    기 반 왕 금 옥 육 인 맹 제 모 탁 국 어 은 편 용 예 봉 경 사 부 가 복 태 목 형 피 두 감 음 빈 동 온
    호 범 좌 팽 승 간 상 시 갈 단 견 당 라 리 림 남궁 황보 제갈 사공 선우 서문 독고 동방
    """
)
FIRST_NAMES = _words(
    """
    james mary robert patricia john jennifer michael linda david elizabeth william barbara richard susan joseph
    jessica thomas sarah charles karen christopher lisa daniel nancy matthew betty anthony margaret mark sandra
    donald ashley steven kimberly paul emily andrew donna joshua michelle kenneth carol kevin amanda brian
    dorothy george melissa edward deborah ronald stephanie timothy rebecca jason sharon jeffrey laura ryan
    cynthia jacob kathleen gary amy nicholas angela eric shirley jonathan anna stephen brenda larry pamela
    justin emma scott nicole brandon helen benjamin samantha samuel katherine gregory christine frank debra
    alexander rachel raymond carolyn patrick janet jack catherine dennis maria jerry heather tyler diane aaron
    ruth jose julie adam olivia nathan joyce henry virginia douglas victoria zachary kelly peter lauren kyle
    christina walter joan noah evelyn ethan judith jeremy megan andrea christian cheryl hannah martha keith
    jacqueline roger frances terry gloria austin ann sean teresa gerald kathryn carl sara dylan janice harold
    jean jordan alice jesse madison bryan doris lawrence abigail arthur julia gabriel judy bruce grace logan
    denise billy amber joe marilyn albert beverly willie danielle alan theresa eugene sophia russell marie
    vincent diana philip brittany bobby natalie johnny isabella bradley charlotte martin rose ernest kayla craig
    alexis stanley lily leonard claire fred tom bill bob jim mike steve dave chris alex sam ben dan nick tim
    tony ted ed ray ken ron don greg jeff matt josh andy kate liz jane lucy ellen max leo felix oscar hugo
    oliver harry charlie george freddie archie alfie theo isla ava mia ivy freya elsie florence sienna poppy
    edith pierre jacques michel jean luc marc louis antoine francois nicolas julien camille chloe lea manon
    sophie juliette hans karl heinz peter klaus wolfgang juergen dieter uwe stefan andreas matthias tobias lukas
    jonas finn anke heike petra sabine ulrike katrin birgit monika greta ingrid astrid sven lars erik nils bjorn
    olaf anders magnus henrik giovanni marco luca matteo alessandro francesco giulia chiara elena carlos juan
    luis miguel jose antonio manuel pedro diego pablo javier rafael fernando alejandro sofia lucia carmen isabel
    marta ana joao paulo ricardo tiago ivan dmitri sergei vladimir nikolai boris olga natasha svetlana tatiana
    irina yuri mikhail pavel tomas jan jiri marek piotr andrzej agnieszka katarzyna zoltan laszlo istvan eszter
    mohammed ahmed ali omar hassan fatima aisha layla yusuf mehmet mustafa ayse amir reza raj priya anil sunil
    ravi sanjay deepak neha pooja arjun vikram aditya wei ming li mei jing yan hiroshi kenji takashi yuki akiko
    haruto sakura naoko yoko minh linh nguyen thanh hoang kwame chidi ngozi amara oluwaseun tunde thabo sipho
    minsu jiwoo minjun seoyeon jimin hyun jisoo sunghoon youngho harriet dmitri aiko brendan tariq nadia zara
    leila hamza bilal karim samir rosa elias moritz emil ida alma signe
    """
)
LAST_NAMES = _words(
    """
    smith johnson williams brown jones garcia miller davis rodriguez martinez hernandez lopez gonzalez wilson
    anderson thomas taylor moore jackson martin lee perez thompson white harris sanchez clark ramirez lewis
    robinson walker young allen king wright scott torres nguyen hill flores green adams nelson baker hall rivera
    campbell mitchell carter roberts gomez phillips evans turner diaz parker cruz edwards collins reyes stewart
    morris morales murphy cook rogers gutierrez ortiz morgan cooper peterson bailey reed kelly howard ramos kim
    cox ward richardson watson brooks chavez wood james bennett gray mendoza ruiz hughes price alvarez castillo
    sanders patel myers long ross foster jimenez powell jenkins perry russell sullivan bell coleman butler
    henderson barnes gonzales fisher vasquez simmons romero jordan patterson alexander hamilton graham reynolds
    griffin wallace moreno west cole hayes bryant herrera gibson ellis tran medina aguilar stevens murray ford
    castro marshall owens harrison fernandez mcdonald woods washington kennedy wells vargas henry chen freeman
    webb tucker guzman burns crawford olson simpson porter hunter gordon mendez silva shaw snyder mason dixon
    munoz hunt hicks holmes palmer wagner black robertson boyd stone salazar fox warren mills meyer rice schmidt
    garza daniels ferguson nichols stephens soto weaver ryan gardner payne grant dunn kelley spencer hawkins
    arnold pierce hansen peters santos hart bradley knight elliott cunningham duncan armstrong hudson carroll
    lane riley andrews alvarado ray delgado berry perkins hoffman johnston matthews pena richards contreras
    willis carpenter lawrence sandoval muller mueller schneider fischer weber becker schulz bauer koch richter
    klein wolf schroeder neumann schwarz zimmermann braun krueger hartmann lange krause lehmann dupont durand
    leroy moreau laurent lefebvre bernard petit rossi ferrari esposito bianchi romano ricci marino jensen
    nielsen andersen pedersen christensen larsen sorensen rasmussen johansson karlsson nilsson eriksson svensson
    gustafsson lindqvist berg lindberg korhonen virtanen novak kowalski nowak wisniewski horvath nagy szabo toth
    kovacs ivanov petrov sidorov smirnov popov volkov sokolov singh sharma gupta kumar reddy iyer khan hussain
    ahmed malik chaudhry wang zhang liu yang huang zhao wu zhou tanaka suzuki sato watanabe ito yamamoto
    nakamura kobayashi park choi jung kang cho yoon jang lim okafor adeyemi mensah diallo mbeki haddad demir
    yilmaz kaya whitcombe moretti duarte halvorsen oconnell ibarra raman
    """
)
# What is written with a capital and is nobody.
PLACES = _words(
    """
    afghanistan albania algeria argentina armenia australia austria azerbaijan bangladesh belarus belgium
    bolivia brazil bulgaria cambodia cameroon canada chile china colombia croatia cuba cyprus denmark ecuador
    egypt estonia ethiopia finland france georgia germany ghana greece guatemala hungary iceland india indonesia
    iran iraq ireland israel italy jamaica japan kazakhstan kenya korea kuwait latvia lebanon lithuania
    luxembourg malaysia malta mexico moldova mongolia morocco nepal netherlands nigeria norway pakistan panama
    paraguay peru philippines poland portugal qatar romania russia rwanda senegal serbia singapore slovakia
    slovenia somalia spain sudan sweden switzerland syria taiwan tanzania thailand tunisia turkey uganda ukraine
    uruguay usa uzbekistan venezuela vietnam yemen zambia zimbabwe america africa asia europe antarctica england
    scotland wales britain kingdom states republic united islands island alabama alaska arizona arkansas
    california colorado connecticut delaware florida hawaii idaho illinois indiana iowa kansas kentucky
    louisiana maine maryland massachusetts michigan minnesota mississippi missouri montana nebraska nevada
    hampshire jersey york carolina dakota ohio oklahoma oregon pennsylvania tennessee texas utah vermont
    wisconsin wyoming amsterdam athens atlanta baghdad bangkok barcelona beijing berlin bogota bombay boston
    brisbane brussels bucharest budapest cairo calgary chicago cologne copenhagen dallas delhi denver detroit
    dublin edinburgh frankfurt geneva glasgow hamburg helsinki houston istanbul jakarta jerusalem johannesburg
    karachi kiev kyoto lagos lima lisbon liverpool london lyon madrid manchester manila marseille melbourne
    miami milan montreal moscow mumbai munich naples orleans osaka oslo ottawa paris philadelphia phoenix
    portland prague quebec rome rotterdam santiago seattle seoul shanghai stockholm sydney tehran tokyo toronto
    vancouver venice vienna warsaw wellington zagreb zurich street avenue road drive lane court boulevard city
    county town village state province university college school company corporation inc ltd llc bank group
    institute association orchestra museum hotel airport station park church monday tuesday wednesday thursday
    friday saturday sunday january february march april june july august september october november december
    american british french german spanish italian english european russian chinese japanese korean indian
    african asian canadian mexican australian dutch swedish norwegian danish finnish polish turkish
    """
)
# Names from abroad as they are written in Korean, and syllables of such names.
ABROAD = _words(
    """
    존 제임스 마이클 데이비드 윌리엄 리처드 토마스 찰스 로버트 조지 에드워드 헨리 앤 메리 엘리자베스 제니퍼 린다 수잔
    마리아 안나 소피아 에밀리 엠마 올리비아 레이첼 케이트 니콜 크리스 크리스티안 알렉스 알렉산더 벤 벤자민 다니엘 매튜
    마크 루크 폴 피터 스티븐 케빈 브라이언 앤드류 조셉 사무엘 잭 톰 팀 샘 맥스 레오 루카스 마르코 안토니오 카를로스
    후안 미겔 페드로 호세 디에고 세르게이 블라디미르 이반 드미트리 나탈리아 올가 타냐 하루토 다카하시 스즈키 사토
    야마모토 나카무라 기무라 유키 하루카 아키라 겐지 왕밍 리웨이 장웨이 첸 양미 무하마드 알리 오마르 하산 스미스 존슨
    윌리엄스 브라운 존스 밀러 데이비스 가르시아 로드리게스 윌슨 마르티네스 앤더슨 테일러 무어 잭슨 마틴 톰슨 화이트
    로페즈 클라크 루이스 로빈슨 워커 홀 앨런 영 킹 라이트 스콧 그린 베이커 넬슨 힐 캠벨 미첼 로버츠 카터 필립스
    에반스 터너 파커 콜린스 에드워즈 스튜어트 머피 쿡 로저스 쿠퍼 리드 베일리 뮐러 슈미트 슈나이더 피셔 베버 바그너
    베커 호프만 슐츠 로시 페라리 비앙키 이바노프 페트로프 뒤퐁 모로 르블랑 니슨 크루즈 디카프리오 피트 졸리
    """
)
SOUNDS = _words(
    """
    가 나 다 라 마 바 사 아 자 카 타 파 하 로 르 리 니 스 트 크 드 프 즈 엘 안 던 린 튼 슨 벨 캐 데 미
    모 코 토 베 비 시 제
    """
)
# What names in Latin letters are put together from.
ONSETS = _words(
    """
    b br c ch d dr f fr g gr h j k kl l m n p pr r s sch sh st sz t th tr v w y z
    """
)
VOWELS = _words(
    """
    a e i o u ai ei ie oo ou a e i o u á é í ö ü å ä ø
    """
)
CODAS = _words(
    """
    n r s l m t d k th nd rt ng ck ss ski sen son er ez ov ić
    """
)
